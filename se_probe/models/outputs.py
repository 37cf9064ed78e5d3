"""What the output units of a network mean, from the configuration it carries."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.data import ImageNetInfo, infer_imagenet_subset

from se_probe.labels import LabelSpace, imagenet, label_space_from_names
from se_probe.models.preprocessing import network_config

_IMAGENET_1K = "imagenet-1k"


def output_labels(network: torch.nn.Module) -> LabelSpace | None:
    """Return the label space of the network's output units, None when nothing says what they are.

    `label_names` in the network's configuration come first; otherwise timm's inference from the number of
    classes stands (1000 units are ImageNet-1k), which for a network without such labels is an assumption.
    """
    config = network_config(network)
    units = getattr(network, "num_classes", config.get("num_classes"))
    names = config.get("label_names")
    if isinstance(names, Sequence) and units in (None, len(names)):
        return named_outputs([str(name) for name in names])
    # timm infers from `num_classes`, which a network that carries no configuration may use for anything.
    subset = infer_imagenet_subset({"num_classes": units}) if config else None
    if subset is None:
        return None
    if subset == _IMAGENET_1K:
        return imagenet()
    return label_space_from_names(ImageNetInfo(subset).label_names(), subset)


def named_outputs(names: Sequence[str]) -> LabelSpace:
    """Return the label space of output units with these names, ImageNet-1k when they are its WordNet ids."""
    space = imagenet()
    if list(names) == [image_class.wnid for image_class in space.classes]:
        return space
    return label_space_from_names(names, "labels of the network")
