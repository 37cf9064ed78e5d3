import pickle
from collections import Counter

import numpy as np
import pytest
import torch

from se_probe.demo import DEMO_CLASSES, draw, object_mask, stimulus_factors
from se_probe.images import batches, demo_images, open_images, select
from se_probe.images.open import Drawings


def to_tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def test_the_demo_has_fifty_drawings_of_each_of_its_classes():
    images = demo_images()
    assert list(images.counts.values()) == [50] * 10
    assert images.classes == DEMO_CLASSES.classes
    assert images.layout == "demo drawings (10 classes, 50 held-out instances of each)"
    assert images.samples[7].path == f"demo/{DEMO_CLASSES.classes[0].name}/0007"


def test_the_demos_drawings_are_drawn_when_they_are_loaded():
    images = demo_images()
    chosen = [r.image_class for r in images.labels.resolve_all("goldfish,plane")]
    selection = select(images, chosen, per_class=2, reference_per_class=0)
    assert Counter(e.sample.image_class.name for e in selection.entries) == {"goldfish": 2, "airliner": 2}
    (batch,) = batches(selection, to_tensor, batch_size=8, workers=0)
    assert batch.skipped == ()
    for entry, image in zip(selection.entries, batch.images, strict=True):
        _, name, instance = entry.sample.path.split("/")
        assert torch.equal(image, to_tensor(draw(name, int(instance)).convert("RGB")))


def test_drawings_have_their_object_scaled_and_all_else_kept():
    images = demo_images()
    path = next(sample.path for sample in images.samples if sample.path == "demo/goldfish/0007")
    own = stimulus_factors("goldfish", 7).scale
    np.testing.assert_array_equal(np.array(images.source.open(path)), np.array(draw("goldfish", 7)))
    drawn = pickle.loads(pickle.dumps(Drawings(0.5))).open(path)
    np.testing.assert_array_equal(np.array(drawn), np.array(draw("goldfish", 7, scale=own * 0.5)))
    areas = [object_mask("goldfish", 7, scale=own * factor).astype(float).sum() for factor in (0.5, 0.25)]
    assert areas[0] / areas[1] == pytest.approx(4, rel=0.1)


def test_what_is_opened_and_selected_prints_in_a_line(tree):
    images = open_images(tree("goldfish/a.png", "pug/b.png"))
    selection = select(images, images.classes)
    for shown in (repr(images), repr(selection), repr(images.source)):
        assert "\n" not in shown
        assert len(shown) < 300


def test_without_labels_the_classes_are_the_datas_own(tree):
    images = open_images(tree("goldfish/a.png", "mydog/b.png"))
    assert [(c.name, c.index) for c in images.classes] == [("goldfish", None), ("mydog", None)]
