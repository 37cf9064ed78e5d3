"""Open data sets by the names that timm's `create_dataset` takes: hfds/, hfids/, wds/ and tfds/.

The libraries behind those names are used directly where they can give an image undecoded: timm's own dataset
puts the next image in the place of one that it cannot decode, so that rows and file names would part.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from se_probe.errors import SeProbeError
from se_probe.images.classes import Matched, match_labels
from se_probe.images.dataset_name import DatasetName, OpenedDataset, require
from se_probe.images.huggingface import open_indexed, open_streamed
from se_probe.images.imageset import ImageSet, ImageStream, Sample, sample_order
from se_probe.images.listing import readable
from se_probe.images.shards import WebDatasetStream, shard_urls
from se_probe.labels import LabelSpace

_PREFIX = re.compile(r"(hfds|hfids|wds|tfds)/", re.IGNORECASE)


def is_dataset_name(data: str) -> bool:
    """Return whether `data` is a name such as `hfds/NAME`, and not a path."""
    return _PREFIX.match(data) is not None


def open_dataset(data: str, labels: LabelSpace | None) -> ImageSet:
    """Return the labelled images of a named data set; it is downloaded where its library does so.

    A split follows a `#` (`hfds/NAME#test`); without one it is the validation split, or the only one.

    Raises:
        SeProbeError: the library is not installed, the data cannot be opened, or its labels are not clear.
    """
    head, _, split = data.partition("#")
    prefix, _, place = head.partition("/")
    name = DatasetName(data, prefix.lower(), place, split or None)
    openers: Mapping[str, Callable[[DatasetName], OpenedDataset]] = {
        "hfds": open_indexed,
        "hfids": open_streamed,
        "wds": _open_webdataset,
        "tfds": _open_tfds,
    }
    opened = openers[name.kind](name)
    if not opened.paths:
        raise SeProbeError(f"{data} holds no images; expected labelled images")
    if any(not isinstance(label, int) or label < 0 for label in opened.labels):
        raise SeProbeError(f"{data} has images without a class number; expected one, from 0 on, for each image")
    texts, matched, how = _match(opened, labels, data)
    samples = [Sample(readable(path), matched.by_text[text]) for path, text in zip(opened.paths, texts, strict=True)]
    streamed = isinstance(opened.source, ImageStream)
    return ImageSet(
        title=data,
        samples=tuple(samples if streamed else sorted(samples, key=sample_order)),
        labels=matched.labels,
        layout=f"{opened.words} labelled by {how} {matched.summary(len(samples))}",
        ignored=0,
        source=opened.source,
    )


def _match(opened: OpenedDataset, labels: LabelSpace | None, where: str) -> tuple[list[str], Matched, str]:
    names = opened.label_names
    if names is None or _in_label_order(names, labels):
        texts = [str(label) for label in opened.labels]
        matched = match_labels(texts, labels, where)
        return texts, matched, "index" if names is None else "index, in the order of the network's labels"
    texts = [names[label] for label in opened.labels if label is not None]
    matched = match_labels(texts, labels, where)
    return texts, matched, matched.kind


def _in_label_order(names: Sequence[str], labels: LabelSpace | None) -> bool:
    """Whether the data's classes are the network's in the same order, however synonyms are written."""
    if labels is None or len(names) != len(labels.classes):
        return False
    return all(
        image_class.index == index and image_class in _meant(name, labels)
        for index, (name, image_class) in enumerate(zip(names, labels.classes, strict=True))
    )


def _meant(name: str, labels: LabelSpace) -> set[Any]:
    return {image_class for part in (name, *name.split(", ")) for image_class in labels.candidates(part)}


def _open_webdataset(name: DatasetName) -> OpenedDataset:
    require(name, "webdataset")
    stream = WebDatasetStream(shard_urls(name.place, name.text))
    found = list(stream.keys(name.text))
    words = f"WebDataset of {len(stream.urls)} shards"
    return OpenedDataset([k for k, _ in found], [c for _, c in found], None, words, stream)


@dataclass(frozen=True)
class _TfdsStream:
    """Images of a TensorFlow data set, which timm reads and decodes."""

    dataset: Any

    def stream(self) -> Iterator[Callable[[], Image.Image]]:
        """Return for each image in turn what gives it."""
        return (image.copy for image, _ in self.dataset)


def _open_tfds(name: DatasetName) -> OpenedDataset:
    require(name, "tensorflow_datasets")
    from timm.data import create_dataset

    dataset = create_dataset(f"tfds/{name.place}", split=name.split or "validation")
    labels = [int(label) for _, label in dataset]
    keys = [f"{row:08d}" for row in range(len(labels))]
    return OpenedDataset(keys, labels, None, "TensorFlow data set", _TfdsStream(dataset))
