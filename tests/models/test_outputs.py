"""What output units mean."""

from __future__ import annotations

import torch
from timm.data import ImageNetInfo

from se_probe.labels import imagenet
from se_probe.models.outputs import named_outputs, output_labels


def network(units: int | None = None, **config: object) -> torch.nn.Module:
    made = torch.nn.Flatten()
    made.pretrained_cfg = config  # type: ignore[assignment]
    if units is not None:
        made.num_classes = units  # type: ignore[assignment]
    return made


def test_a_thousand_classes_are_imagenet() -> None:
    assert output_labels(network(num_classes=1000)) == imagenet()


def test_larger_imagenets_follow_timms_inference() -> None:
    labels = output_labels(network(num_classes=11821))
    assert labels is not None
    assert labels.title == "imagenet-12k"
    assert [c.wnid for c in labels.classes] == list(ImageNetInfo("imagenet-12k").label_names())


def test_names_in_the_configuration_come_first() -> None:
    labels = output_labels(network(num_classes=2, label_names=["n01443537", "n02110958"]))
    assert labels is not None
    assert [(c.index, c.wnid, c.name) for c in labels.classes] == [
        (0, "n01443537", "goldfish"),
        (1, "n02110958", "pug"),
    ]


def test_names_do_not_hold_for_another_number_of_units() -> None:
    assert output_labels(network(3, num_classes=2, label_names=["a", "b"])) is None
    assert output_labels(network(50, num_classes=1000)) is None


def test_without_a_configuration_nothing_is_assumed() -> None:
    plain = torch.nn.Flatten()
    plain.num_classes = 1000  # type: ignore[assignment]
    assert output_labels(plain) is None


def test_imagenets_own_ids_are_recognised() -> None:
    wnids = [str(c.wnid) for c in imagenet().classes]
    assert named_outputs(wnids) == imagenet()
    assert named_outputs(wnids[::-1]) != imagenet()
