"""Open data sets by the names that timm's `create_dataset` takes: hfds/, hfids/ and wds/.

Hugging Face's library is used directly, because timm's own dataset puts the next image in the place of one that it
cannot decode. WebDataset's shards are tars and are read as such, with random access.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from se_probe.errors import SeProbeError, one_line
from se_probe.images.blobs import FileBlob, bytes_fingerprint
from se_probe.images.classes import Matched, match_labels
from se_probe.images.imageset import ImageSet, ImageSource, ImageStream, Sample, open_bytes, sample_order
from se_probe.images.listing import readable
from se_probe.labels import ImageClass, LabelSpace

_PREFIX = re.compile(r"(hfds|hfids|wds)/", re.IGNORECASE)
_SPLITS = ("validation", "val", "valid")


@dataclass(frozen=True)
class DatasetName:
    """A name such as `hfds/timm/mini-imagenet#test`, taken apart."""

    text: str
    kind: str
    place: str
    split: str | None

    @classmethod
    def parse(cls, data: str) -> DatasetName:
        """Return the parts of a name; a split follows a `#`."""
        head, _, split = data.partition("#")
        kind, _, place = head.partition("/")
        return cls(data, kind.lower(), place, split or None)


def is_dataset_name(data: str) -> bool:
    """Return whether `data` is a name such as `hfds/NAME`, and not a path."""
    return _PREFIX.match(data) is not None


def open_hugging_face(name: DatasetName, labels: LabelSpace | None) -> ImageSet:
    """Return the labelled images of `hfds/NAME`, which the library downloads and stores, or of `hfids/NAME`, streamed.

    Without a split after a `#` it is the validation split, or the only one.

    Raises:
        SeProbeError: the library is not installed, the data cannot be opened, or its labels are not clear.
    """
    opened = _open_streamed(name) if name.kind == "hfids" else _open_indexed(name)
    if not opened.paths:
        raise SeProbeError(f"{name.text} holds no images; expected labelled images")
    if any(not isinstance(label, int) or label < 0 for label in opened.labels):
        raise SeProbeError(f"{name.text} has images without a class number; expected one, from 0 on, for each image")
    texts, matched, how = _match(opened, labels, name.text)
    samples = [Sample(readable(path), matched.by_text[text]) for path, text in zip(opened.paths, texts, strict=True)]
    streamed = isinstance(opened.source, ImageStream)
    return ImageSet(
        title=name.text,
        samples=tuple(samples if streamed else sorted(samples, key=sample_order)),
        labels=matched.labels,
        layout=f"{opened.words} labelled by {how} {matched.summary(len(samples))}",
        ignored=0,
        source=opened.source,
    )


@dataclass(frozen=True)
class _Opened:
    """A name and a label for each image of a data set, and how to open them."""

    paths: Sequence[str]
    labels: Sequence[int | None]
    label_names: Sequence[str] | None
    words: str
    source: ImageSource | ImageStream


@dataclass(frozen=True)
class _Rows:
    """Images of a data set with random access; the path of a sample begins with its row's number."""

    rows: Any = field(repr=False)
    column: str

    def open(self, path: str) -> Image.Image:
        return _image(self._cell(path))

    def fingerprint(self, path: str) -> str | None:
        cell = self._cell(path)
        try:
            return (
                FileBlob(path=cell["path"]).fingerprint() if cell["bytes"] is None else bytes_fingerprint(cell["bytes"])
            )
        except OSError:
            return "unreadable"

    def _cell(self, path: str) -> Mapping[str, Any]:
        cell: Mapping[str, Any] = self.rows[int(path.split("#", 1)[0])][self.column]
        return cell


@dataclass(frozen=True)
class _RowStream:
    """Images of a streamed data set."""

    rows: Any = field(repr=False)
    column: str

    def stream(self) -> Iterator[Callable[[], Image.Image]]:
        return (partial(_image, row[self.column]) for row in self.rows)


def _image(cell: Mapping[str, Any]) -> Image.Image:
    return open_bytes(cell["bytes"] or FileBlob(path=cell["path"]).read())


def _open_indexed(name: DatasetName) -> _Opened:
    rows, split = _load(name, streaming=False)
    _require_columns(name, rows.features)
    rows = rows.cast_column("image", _datasets(name).Image(decode=False))
    # From the columns themselves: reading row by row would read every image's bytes too.
    files = [cell.as_py() for chunk in rows.data.column("image").chunks for cell in chunk.field("path")]
    keys = [f"{row:08d}#{Path(file).name}" if file else f"{row:08d}" for row, file in enumerate(files)]
    names = getattr(rows.features["label"], "names", None)
    words = f"Hugging Face data set, split {split},"
    return _Opened(keys, rows.data.column("label").to_pylist(), names, words, _Rows(rows, "image"))


def _open_streamed(name: DatasetName) -> _Opened:
    rows, split = _load(name, streaming=True)
    _require_columns(name, rows.features or {})
    labels = [row["label"] for row in rows.select_columns(["label"])]
    names = getattr(rows.features["label"], "names", None)
    stream = _RowStream(rows.cast_column("image", _datasets(name).Image(decode=False)), "image")
    words = f"streamed Hugging Face data set, split {split},"
    return _Opened([f"{row:08d}" for row in range(len(labels))], labels, names, words, stream)


def _load(name: DatasetName, *, streaming: bool) -> tuple[Any, str]:
    datasets = _datasets(name)
    place = Path(name.place)
    try:
        if not streaming and any((place / file).is_file() for file in ("dataset_dict.json", "state.json")):
            return _load_saved(name, datasets.load_from_disk(place))
        split = _choose_split(name, datasets.get_dataset_split_names(name.place))
        return datasets.load_dataset(name.place, split=split, streaming=streaming), split
    except SeProbeError:
        raise
    except Exception as error:  # the library raises dozens of types, and all mean that the data cannot be obtained
        raise SeProbeError(
            f"{name.text} cannot be opened ({one_line(error)}); expected a data set of the Hugging Face hub or a "
            "local folder that `datasets.load_dataset` opens"
        ) from error


def _load_saved(name: DatasetName, saved: Any) -> tuple[Any, str]:
    splits = dict(saved) if isinstance(saved, dict) else {str(saved.split or "all"): saved}
    split = _choose_split(name, list(splits))
    # The columns are read as they are stored, so rows that were selected or shuffled are put in order first.
    return splits[split].flatten_indices(), split


def _choose_split(name: DatasetName, splits: Sequence[str]) -> str:
    if name.split is not None:
        if name.split in splits:
            return name.split
        raise SeProbeError(f"{name.text}: there is no split {name.split}; expected one of {', '.join(splits)}")
    for split in (*_SPLITS, *splits[:1]):
        if split in splits and (split in _SPLITS or len(splits) == 1):
            return split
    raise SeProbeError(
        f"{name.text} has the splits {', '.join(splits)}, none of them called validation; expected a split after "
        f"the name: {name.text}#{splits[0]}"
    )


def _require_columns(name: DatasetName, features: Mapping[str, Any]) -> None:
    if not {"image", "label"} <= set(features):
        raise SeProbeError(
            f"{name.text} has the columns {', '.join(features)}; expected a column image and a column label"
        )


def _datasets(name: DatasetName) -> Any:
    if find_spec("datasets") is None:
        raise SeProbeError(
            f'{name.text} needs the package datasets, which is not installed; pip install "se-probe[data]"'
        )
    import datasets

    return datasets


def _match(opened: _Opened, labels: LabelSpace | None, where: str) -> tuple[list[str], Matched, str]:
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


def _meant(name: str, labels: LabelSpace) -> set[ImageClass]:
    return {image_class for part in (name, *name.split(", ")) for image_class in labels.candidates(part)}
