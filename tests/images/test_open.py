from collections import Counter

import numpy as np
import torch

from se_probe.demo import DEMO_CLASSES, draw
from se_probe.images import batches, demo_images, open_images, select


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


def test_what_is_opened_and_selected_prints_in_a_line(tree):
    images = open_images(tree("goldfish/a.png", "pug/b.png"))
    selection = select(images, images.classes)
    for shown in (repr(images), repr(selection), repr(images.source)):
        assert "\n" not in shown
        assert len(shown) < 300


def test_without_labels_the_classes_are_the_datas_own(tree):
    images = open_images(tree("goldfish/a.png", "mydog/b.png"))
    assert [(c.name, c.index) for c in images.classes] == [("goldfish", None), ("mydog", None)]
