"""The frame fits on the page, can be read at its printed size, and states what the curves rest on."""

import matplotlib as mpl
import pandas as pd
import pytest

from se_probe.figures import curves_caption, model_line, role_of_excitation
from tests.figures.tables import FOUR, PAPER_PANELS, curves, texts


@pytest.mark.parametrize("demo", [True, False])
def test_demo_label_is_there_when_and_only_when_it_is_a_demo(demo):
    assert ("demo stimuli, not photographs" in texts(role_of_excitation(curves(), demo=demo))) is demo


@pytest.mark.parametrize("sites", [["SE_5_3"], PAPER_PANELS])
def test_nothing_is_cut_off_or_laid_over_the_legend(sites):
    names = [*FOUR, "a folder name that is so long that no legend of a figure can hold it", "tabby"]
    figure = role_of_excitation(curves(sites, names), demo=True, title="long " * 30, caption="word " * 60)
    figure.draw_without_rendering()
    page, legend = figure.bbox, figure.legends[0].get_window_extent()
    parts = [*figure.texts, figure.legends[0]]
    boxes = [part.get_window_extent() for part in parts] + [axes.get_tightbbox() for axes in figure.axes]
    for box in boxes:
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert page.y0 <= box.y0
        assert box.y1 <= page.y1
    assert all(axes.get_tightbbox().y1 < legend.y0 for axes in figure.axes)


def test_figure_has_the_width_of_a_papers_column():
    assert role_of_excitation(curves(), demo=True).get_figwidth() == pytest.approx(84 / 25.4)
    assert role_of_excitation(curves(PAPER_PANELS), demo=True).get_figwidth() == 7.16


def test_no_text_is_smaller_than_six_points():
    figure = role_of_excitation(curves(PAPER_PANELS), demo=True, caption="caption")
    texts_shown = [text for text in figure.findobj(mpl.text.Text) if text.get_text()]
    assert min(text.get_fontsize() for text in texts_shown) >= 6


def test_a_name_is_said_once():
    assert (
        model_line({"name": "legacy_seresnet50.in1k", "weights": "pretrained"}) == "legacy_seresnet50.in1k, pretrained"
    )
    assert model_line({"name": "a.py:net", "weights": "as built by a.py:net"}) == "a.py:net"
    assert model_line({"name": "se", "weights": "bundled"}, complete=False) == "se, bundled · INCOMPLETE RUN"


def test_caption_has_network_images_and_reference():
    table = curves(count=50)
    table.loc[table["role"] == "reference", "count"] = 500
    assert curves_caption("a network", table) == (
        "a network · 50 images per class · all classes (10): 500 images, equal weight per class"
    )


@pytest.mark.parametrize(("counts", "words"), [((7, 12), "7 to 12 images per class"), ((1, 1), "1 image per class")])
def test_caption_counts_images(counts, words):
    table = pd.concat([curves(classes=["pug"], reference=None, count=count) for count in counts])
    assert curves_caption("se", table) == f"se · {words}"
