"""Open data sets by the names that timm's `create_dataset` takes: hfds/, hfids/ and wds/.

Hugging Face's library is used directly, because timm's dataset replaces an undecodable image by the next one.
WebDataset's shards are read as tars, with random access.
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
from se_probe.images.classes import match_labels
from se_probe.images.imageset import ImageSet, ImageSource, ImageStream, Sample, open_bytes, sample_order
from se_probe.images.listing import readable
from se_probe.labels import LabelSpace

_PREFIX = re.compile(r"(hfds|hfids|wds)/", re.IGNORECASE)
_SPLITS = ("validation", "val", "valid")


def is_dataset_name(data: str) -> bool:
    """Return whether `data` is a name such as `hfds/NAME`, and not a path."""
    return _PREFIX.match(data) is not None


def open_hugging_face(name: str, labels: LabelSpace | None) -> ImageSet:
    """Return the labelled images of `hfds/NAME`, stored on disk, or of `hfids/NAME`, streamed.

    The split after a `#` is by default the validation split, or the only one.
    """
    streamed = name.lower().startswith("hfids/")
    rows, split = _load(name, streaming=streamed)
    features = rows.features or {}
    if not {"image", "label"} <= set(features):
        raise SeProbeError(f"{name} has the columns {', '.join(features)}; expected a column image and a column label")
    encoded = rows.cast_column("image", _datasets(name).Image(decode=False))
    source: ImageSource | ImageStream
    if streamed:
        numbers = [row["label"] for row in rows.select_columns(["label"])]
        paths, source = [f"{row:08d}" for row in range(len(numbers))], _RowStream(encoded)
    else:
        # By columns: rows would read every image's bytes too.
        numbers = encoded.data.column("label").to_pylist()
        files = [cell.as_py() for chunk in encoded.data.column("image").chunks for cell in chunk.field("path")]
        paths = [f"{row:08d}#{Path(file).name}" if file else f"{row:08d}" for row, file in enumerate(files)]
        source = _Rows(encoded)
    if not paths:
        raise SeProbeError(f"{name} holds no images; expected labelled images")
    if any(not isinstance(number, int) or number < 0 for number in numbers):
        raise SeProbeError(f"{name} has images without a class number; expected one, from 0 on, for each image")
    texts, how = _texts(numbers, getattr(features["label"], "names", None), labels)
    matched = match_labels(texts, labels, name)
    samples = [Sample(readable(path), matched.by_text[text]) for path, text in zip(paths, texts, strict=True)]
    words = f"{'streamed ' if streamed else ''}Hugging Face data set, split {split}, labelled by {how or matched.kind}"
    return ImageSet(
        title=name,
        samples=tuple(samples if streamed else sorted(samples, key=sample_order)),
        labels=matched.labels,
        layout=f"{words} {matched.summary(len(samples))}",
        ignored=0,
        source=source,
    )


@dataclass(frozen=True)
class _Rows:
    """Images of a data set with random access; the path of a sample begins with its row's number."""

    rows: Any = field(repr=False)

    def open(self, path: str) -> Image.Image:
        return _image(self._cell(path))

    def fingerprint(self, path: str) -> str | None:
        cell = self._cell(path)
        data = cell["bytes"]
        return FileBlob(path=cell["path"]).fingerprint() if data is None else bytes_fingerprint(data)

    def _cell(self, path: str) -> Mapping[str, Any]:
        cell: Mapping[str, Any] = self.rows[int(path.split("#", 1)[0])]["image"]
        return cell


@dataclass(frozen=True)
class _RowStream:
    rows: Any = field(repr=False)

    def stream(self) -> Iterator[Callable[[], Image.Image]]:
        return (partial(_image, row["image"]) for row in self.rows)


def _image(cell: Mapping[str, Any]) -> Image.Image:
    return open_bytes(cell["bytes"] or FileBlob(path=cell["path"]).read())


def _load(name: str, *, streaming: bool) -> tuple[Any, str]:
    """Return the rows of a data set and the name of its split."""
    datasets = _datasets(name)
    head, _, split = name.partition("#")
    place = head.partition("/")[2]
    try:
        if not streaming and any(Path(place, file).is_file() for file in ("dataset_dict.json", "state.json")):
            saved = datasets.load_from_disk(place)
            splits = dict(saved) if isinstance(saved, dict) else {str(saved.split or "all"): saved}
            split = _choose_split(name, split, list(splits))
            # Columns are read as stored, so selected or shuffled rows are put in order first.
            return splits[split].flatten_indices(), split
        split = _choose_split(name, split, datasets.get_dataset_split_names(place))
        return datasets.load_dataset(place, split=split, streaming=streaming), split
    except SeProbeError:
        raise
    except Exception as error:  # the library raises dozens of types
        raise SeProbeError(
            f"{name} cannot be opened ({one_line(error)}); expected a data set of the Hugging Face hub or a "
            "local folder that `datasets.load_dataset` opens"
        ) from error


def _choose_split(name: str, wanted: str, splits: Sequence[str]) -> str:
    if wanted:
        if wanted in splits:
            return wanted
        raise SeProbeError(f"{name}: there is no split {wanted}; expected one of {', '.join(splits)}")
    usual = [split for split in _SPLITS if split in splits] or (splits if len(splits) == 1 else [])
    if usual:
        return usual[0]
    raise SeProbeError(
        f"{name} has the splits {', '.join(splits)}, none of them called validation; expected a split after the name: "
        f"{name}#{splits[0]}"
    )


def _datasets(name: str) -> Any:
    if find_spec("datasets") is None:
        raise SeProbeError(f'{name} needs the package datasets, which is not installed; pip install "se-probe[data]"')
    import datasets

    return datasets


def _texts(
    numbers: Sequence[int], names: Sequence[str] | None, labels: LabelSpace | None
) -> tuple[list[str], str | None]:
    """Return the label text of each image, and a description where the texts are output units."""
    if names is None:
        return [str(number) for number in numbers], "index"
    if labels is not None and len(names) == len(labels.classes):
        # The data's classes may be the network's in the same order, with other synonyms.
        classes = [{found for part in (name, *name.split(", ")) for found in labels.candidates(part)} for name in names]
        if all(item.index == index and item in classes[index] for index, item in enumerate(labels.classes)):
            return [str(number) for number in numbers], "index, in the order of the network's labels"
    return [names[number] for number in numbers], None
