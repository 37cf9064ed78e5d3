"""Load the selected images in batches, in order, and report those that cannot be decoded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import islice
from multiprocessing import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from se_probe.errors import SeProbeError, first_line
from se_probe.images.decode import DeviceDecoder, UndecodableImageError, decode_rgb, encoded_jpeg
from se_probe.images.imageset import ImageSource, ImageStream, open_bytes
from se_probe.images.selection import Selection

Transform = Callable[[Image.Image], torch.Tensor]
_Opener = Callable[[], Image.Image]
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Skip:
    """A selected image that could not be decoded.

    Attributes:
        index: its index in the selection.
        path: its path.
        reason: why it could not be decoded.
    """

    index: int
    path: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """A batch of decoded images.

    Attributes:
        indices: indices of the images in the selection; empty if none could be decoded.
        images: `(image, 3, height, width)`.
        skipped: the images of this batch that could not be decoded.
    """

    indices: tuple[int, ...]
    images: torch.Tensor = field(repr=False)
    skipped: tuple[Skip, ...]

    def pin_memory(self) -> Batch:
        """Return the batch with its images in pinned memory; the loader asks for it."""
        return replace(self, images=self.images.pin_memory())


@dataclass(frozen=True)
class _Packed:
    """A batch that a worker sends through a pipe instead of shared memory."""

    batch: Batch
    images: NDArray[np.float32]

    def unpacked(self) -> Batch:
        return replace(self.batch, images=torch.from_numpy(self.images))

    def pin_memory(self) -> Batch:
        return self.unpacked().pin_memory()


@dataclass(frozen=True)
class _Failure:
    """Why reading stopped; returned by a worker because an exception would carry its traceback."""

    reason: str


@dataclass(frozen=True)
class _Encoded:
    """A JPEG that is decoded on the network's device."""

    index: int
    path: str
    data: bytes


_Item = tuple[int, torch.Tensor] | _Encoded | Skip | _Failure
_Reader = Callable[[int, str, _Opener], _Item]


def batches(
    selection: Selection,
    transform: Transform,
    *,
    batch_size: int,
    workers: int,
    places: Sequence[int] | None = None,
    decoder: DeviceDecoder | None = None,
) -> Iterator[Batch]:
    """Return the selected images in the selection's order, whatever the number of worker processes.

    A batch covers `batch_size` selected images; those that cannot be decoded are left out of its tensor. A
    stream has no random access, so it is read by at most one worker.

    Args:
        selection: the images.
        transform: makes the network's input of an image.
        batch_size: selected images in a batch.
        workers: processes that decode; 0 for this one, which is also used where none can be started.
        places: indices of the images to load among `selection.entries`, ascending; all by default.
        decoder: decodes JPEGs on its device. Workers then only read them, and batches are on that device.

    Raises:
        ValueError: `batch_size` is below 1 or `workers` below 0.
        SeProbeError: the store that holds the images cannot be reached.
    """
    read = partial(_item, transform=transform, encoded=decoder is not None)
    source = selection.images.source
    places = range(len(selection.entries)) if places is None else places
    items: Dataset[_Item]
    if isinstance(source, ImageStream):
        items, workers = _StreamedItems(selection, places, source, read), min(workers, 1)
    else:
        items = _Items(selection, places, source, read)
    for batch in _loaded(items, batch_size, workers, _collate if decoder is None else _unstacked):
        if decoder is not None:
            batch = _collate(_decoded(batch, decoder, transform))
        if isinstance(batch, _Packed):
            batch = batch.unpacked()
        if isinstance(batch, _Failure):
            raise SeProbeError(batch.reason)
        yield batch


def _loaded(items: Dataset[_Item], batch_size: int, workers: int, collate: Callable[[list[_Item]], Any]) -> Any:
    """Return an iterator over collated items, without workers where the system cannot start any."""
    loader = partial(
        DataLoader[_Item],
        items,
        batch_size=batch_size,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        # Without its own generator the loader would advance the caller's random state.
        generator=torch.Generator().manual_seed(0),
    )
    try:
        # A trial of the locks that the loader's queues need, because the loader does not clean up after a failure.
        _ = [Lock() for _ in range(4 * (workers + 2) if workers else 0)]
        return iter(loader(num_workers=workers))
    except OSError as error:
        if not workers:
            raise
        _LOG.warning("images are decoded in one process: no others can be started (%s)", first_line(error))
        return iter(loader(num_workers=0))


def _item(index: int, path: str, opener: _Opener, *, transform: Transform, encoded: bool) -> _Item:
    if encoded:
        opener = cache(opener)
        data = encoded_jpeg(opener)
        if data is not None:
            return _Encoded(index, path, data)
    try:
        return index, transform(decode_rgb(opener))
    except UndecodableImageError as error:
        return Skip(index, path, str(error))
    except SeProbeError as error:
        return _Failure(str(error))


class _Items(Dataset[_Item]):
    def __init__(self, selection: Selection, places: Sequence[int], source: ImageSource, read: _Reader) -> None:
        self._paths = [(place, selection.entries[place].sample.path) for place in places]
        self._source, self._read = source, read

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> _Item:
        place, path = self._paths[index]
        return self._read(place, path, partial(self._source.open, path))


class _StreamedItems(IterableDataset[_Item]):
    def __init__(self, selection: Selection, places: Sequence[int], source: ImageStream, read: _Reader) -> None:
        entries = selection.entries
        self._paths = {entries[place].position: (place, entries[place].sample.path) for place in places}
        self._source, self._read = source, read

    def __iter__(self) -> Iterator[_Item]:
        openers = islice(self._source.stream(), max(self._paths, default=-1) + 1)
        for position, opener in enumerate(openers):
            if position in self._paths:
                yield self._read(*self._paths[position], opener)


def _unstacked(items: list[_Item]) -> list[_Item | tuple[int, NDArray[np.float32]]]:
    # Arrays, because each tensor that a worker sends keeps a file open.
    return [(item[0], item[1].numpy()) if isinstance(item, tuple) else item for item in items]


def _decoded(
    items: list[_Item | tuple[int, NDArray[np.float32]]], decoder: DeviceDecoder, transform: Transform
) -> list[_Item]:
    """Decode JPEGs on the device as one batch; where one is damaged, one by one, with Pillow as the fallback."""
    encoded = {item.index: item.data for item in items if isinstance(item, _Encoded)}
    try:
        images = dict(zip(encoded, decoder(list(encoded.values())), strict=True)) if encoded else {}
    except RuntimeError:
        images = {}
    found: list[_Item] = []
    for item in items:
        if isinstance(item, _Encoded):
            item = (item.index, images[item.index]) if item.index in images else _one(item, decoder, transform)
        found.append((item[0], torch.as_tensor(item[1], device=decoder.device)) if isinstance(item, tuple) else item)
    return found


def _one(item: _Encoded, decoder: DeviceDecoder, transform: Transform) -> _Item:
    with suppress(RuntimeError):
        return item.index, decoder([item.data])[0]
    return _item(item.index, item.path, partial(open_bytes, item.data), transform=transform, encoded=False)


def _collate(items: list[_Item]) -> Batch | _Packed | _Failure:
    for item in items:
        if isinstance(item, _Failure):
            return item
    decoded = [item for item in items if isinstance(item, tuple)]
    skipped = tuple(item for item in items if isinstance(item, Skip))
    images = torch.stack([tensor for _, tensor in decoded]) if decoded else torch.empty(0, 3, 0, 0)
    batch = Batch(tuple(index for index, _ in decoded), images, skipped)
    return batch if get_worker_info() is None else _for_transfer(batch)


def _for_transfer(batch: Batch) -> Batch | _Packed:
    """Move a worker's batch to shared memory, or to an array where there is no room (Docker's default is 64 MB)."""
    # The loader's queue would do this in a thread whose errors are lost, and the run would hang.
    try:
        batch.images.share_memory_()
    except RuntimeError:
        return _Packed(replace(batch, images=torch.empty(0)), batch.images.numpy())
    return batch
