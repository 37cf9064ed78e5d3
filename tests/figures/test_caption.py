"""The caption says what the curves stand on."""

import pandas as pd

from se_probe.figures import caption_line
from tests.figures.tables import curves


def test_model_images_and_reference():
    table = curves(count=50)
    table.loc[table["role"] == "reference", "count"] = 500
    assert caption_line("legacy_seresnet50.in1k", "pretrained in1k", table) == (
        "legacy_seresnet50.in1k, pretrained in1k · 50 images a class · all classes (10): 500 images, equal weights"
    )


def test_differing_counts_are_a_range():
    table = pd.concat([curves(classes=["pug"], reference=None, count=count) for count in (7, 12)])
    assert caption_line("se", "bundled", table) == "se, bundled · 7 to 12 images a class"


def test_one_image():
    assert caption_line("se", "bundled", curves(reference=None, count=1)) == "se, bundled · 1 image a class"
