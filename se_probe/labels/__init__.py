"""Label spaces: what output indices, wnids and class names mean, and where a wnid stands in WordNet."""

from se_probe.labels.space import (
    ImageClass,
    LabelSpace,
    Resolution,
    class_from_name,
    definition,
    imagenet,
    is_wnid,
    label_space_from_names,
    name_key,
    unique_names,
)

__all__ = [
    "ImageClass",
    "LabelSpace",
    "Resolution",
    "class_from_name",
    "definition",
    "imagenet",
    "is_wnid",
    "label_space_from_names",
    "name_key",
    "unique_names",
]
