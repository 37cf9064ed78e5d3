"""Open data sets of the Hugging Face hub or of its library's local formats, with random access or streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from se_probe.errors import SeProbeError
from se_probe.images.blobs import FileBlob, bytes_fingerprint
from se_probe.images.dataset_name import DatasetName, OpenedDataset, require
from se_probe.images.imageset import open_bytes

_SPLITS = ("validation", "val", "valid")


@dataclass(frozen=True)
class _Rows:
    """Images of a Hugging Face data set with random access; the path of a sample ends in its row's number."""

    rows: Any
    column: str

    def open(self, path: str) -> Image.Image:
        """Return the image of a row, undecoded."""
        return _image(self.rows[int(path.split("#", 1)[0])][self.column])

    def fingerprint(self, path: str) -> str | None:
        """Return the size and a digest of the image's ends."""
        cell = self.rows[int(path.split("#", 1)[0])][self.column]
        try:
            return FileBlob(cell["path"]).fingerprint() if cell["bytes"] is None else bytes_fingerprint(cell["bytes"])
        except OSError:
            return "unreadable"


@dataclass(frozen=True)
class _RowStream:
    """Images of a streamed Hugging Face data set."""

    rows: Any
    column: str

    def stream(self) -> Iterator[Callable[[], Image.Image]]:
        """Return for each row in turn what opens its image."""
        return (partial(_image, row[self.column]) for row in self.rows)


def _image(cell: Mapping[str, Any]) -> Image.Image:
    return open_bytes(cell["bytes"] or Path(cell["path"]).read_bytes())


def open_indexed(name: DatasetName) -> OpenedDataset:
    """Open `hfds/NAME`, which the library downloads and stores, or reads from a local folder.

    Raises:
        SeProbeError: the data cannot be opened or has no image and label columns.
    """
    rows, split = _load(name, streaming=False)
    image, label = _columns(name, rows.features)
    rows = rows.cast_column(image, _datasets(name).Image(decode=False))
    # From the columns themselves: reading row by row would read every image's bytes too.
    files = [cell.as_py() for chunk in rows.data.column(image).chunks for cell in chunk.field("path")]
    keys = [f"{row:08d}#{Path(file).name}" if file else f"{row:08d}" for row, file in enumerate(files)]
    names = getattr(rows.features[label], "names", None)
    words = f"Hugging Face data set, split {split},"
    return OpenedDataset(keys, rows.data.column(label).to_pylist(), names, words, _Rows(rows, image))


def open_streamed(name: DatasetName) -> OpenedDataset:
    """Open `hfids/NAME`, read as a stream: nothing is stored.

    Raises:
        SeProbeError: the data cannot be opened or has no image and label columns.
    """
    rows, split = _load(name, streaming=True)
    image, label = _columns(name, rows.features or {})
    labels = [row[label] for row in rows.select_columns([label])]
    names = getattr(rows.features[label], "names", None)
    stream = _RowStream(rows.cast_column(image, _datasets(name).Image(decode=False)), image)
    words = f"streamed Hugging Face data set, split {split},"
    return OpenedDataset([f"{row:08d}" for row in range(len(labels))], labels, names, words, stream)


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
    except Exception as error:  # the library raises dozens of types, and all mean that the data cannot be had
        reason = " ".join(str(error).split())
        raise SeProbeError(
            f"{name.text} cannot be opened ({type(error).__name__}: {reason}); expected a data set of the Hugging "
            "Face hub or a local folder that `datasets.load_dataset` opens"
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


def _columns(name: DatasetName, features: Mapping[str, Any]) -> tuple[str, str]:
    for column in ("image", "label"):
        if column not in features:
            raise SeProbeError(
                f"{name.text} has the columns {', '.join(features)}; expected a column image and a column label"
            )
    return "image", "label"


def _datasets(name: DatasetName) -> Any:
    require(name, "datasets")
    import datasets

    return datasets
