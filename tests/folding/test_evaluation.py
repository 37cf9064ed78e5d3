"""The halves of a selection, and what networks choose for its images."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.folding.evaluation import Images, confirm, first_choice, halves, scores
from se_probe.images import open_images, select


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Grey squares of as many levels as there are images; alpha has five, beta four, gamma one."""
    root = tmp_path_factory.mktemp("squares")
    for name, count in (("alpha", 5), ("beta", 4), ("gamma", 1)):
        (root / name).mkdir()
        for index in range(count):
            Image.new("RGB", (4, 4), (20 * index,) * 3).save(root / name / f"{index}.png")
    (root / "beta" / "broken.png").write_bytes(b"no image")
    return open_images(root, None)


def selected(photographs, names):
    classes = [item.image_class for item in photographs.labels.resolve_all(names)]
    return select(photographs, classes, reference_per_class=0)


def as_tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255


def test_halves_are_even_in_every_class_and_share_nothing(photographs):
    selection = selected(photographs, "alpha,beta,gamma")
    first, second = halves(selection, 0)
    counts = [Counter(entry.sample.image_class.name for entry in half.entries) for half in (first, second)]
    assert counts == [{"alpha": 3, "beta": 3, "gamma": 1}, {"alpha": 2, "beta": 2}]
    assert sorted(entry.position for half in (first, second) for entry in half.entries) == [
        entry.position for entry in selection.entries
    ]
    assert halves(selection, 0) == (first, second)
    assert any(halves(selection, seed)[0] != first for seed in range(1, 5))


def test_a_class_is_split_the_same_way_whatever_else_is_selected(photographs):
    alone, together = (halves(selected(photographs, names), 3)[1] for names in ("alpha", "alpha,beta"))
    assert [e for e in together.entries if e.sample.image_class.name == "alpha"] == list(alone.entries)


def test_one_image_a_class_cannot_be_halved(photographs):
    with pytest.raises(SeProbeError, match=r"has one image of each class that was chosen; expected two or more"):
        halves(selected(photographs, "gamma"), 0)


class Brightness(nn.Module):
    """Chooses unit 1 for images above a level."""

    def __init__(self, level):
        super().__init__()
        self.level = level

    def forward(self, x):
        mean = x.mean((1, 2, 3))
        return torch.stack([torch.full_like(mean, self.level), mean], 1)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_choices_follow_the_selection_and_leave_out_what_cannot_be_decoded(photographs, batch_size):
    images = Images(selected(photographs, "alpha,beta"), as_tensor, torch.empty(0), batch_size=batch_size, workers=0)
    expected = [0, 0, 1, 1, 1, 0, 0, 1, 1]
    for _ in range(2):  # decoded, then from memory
        assert scores([Brightness(0.1)], images, first_choice)[0].tolist() == expected
    assert images.skipped == 1
    assert len(images.units()) == len(expected)


def test_several_networks_see_the_same_images(photographs):
    images = Images(selected(photographs, "alpha"), as_tensor, torch.empty(0), batch_size=2, workers=0)
    chosen, worst = confirm([Brightness(0.1), Brightness(0.2), Brightness(0.3)], images)
    assert [item.tolist() for item in chosen] == [[0, 0, 1, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1]]
    # Outputs differ by 0.1; the largest of the second network's in the first batch is 0.2.
    assert worst == pytest.approx(0.5)


def test_a_network_that_is_no_classifier_is_refused(photographs):
    images = Images(selected(photographs, "alpha"), as_tensor, torch.empty(0), batch_size=2, workers=0)
    with pytest.raises(SeProbeError, match="and not one vector of logits for each image"):
        scores([nn.Identity()], images, first_choice)
