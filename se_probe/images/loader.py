"""Decode and transform the selected images in batches, in order, and name those that cannot be decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset

from se_probe.errors import SeProbeError
from se_probe.images.decode import UndecodableImageError, decode_rgb
from se_probe.images.imageset import ImageSource, ImageStream
from se_probe.images.selection import Selection

Transform = Callable[[Image.Image], torch.Tensor]


@dataclass(frozen=True)
class Skip:
    """A selected image that could not be decoded: its place in the selection, its path, and why."""

    index: int
    path: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """Decoded images: places in the selection, a tensor (n, 3, H, W), and the images left out in between.

    Where none of a batch's images could be decoded, `indices` is empty and `images` has n = 0.
    """

    indices: tuple[int, ...]
    images: torch.Tensor
    skipped: tuple[Skip, ...]


@dataclass(frozen=True)
class _Failure:
    """Why no more images can be read; a worker hands it over, since an exception would come with its traceback."""

    reason: str


_Item = tuple[int, torch.Tensor] | Skip | _Failure


def batches(selection: Selection, transform: Transform, *, batch_size: int, workers: int) -> Iterator[Batch]:
    """Return the selected images in the selection's order, whatever the number of worker processes.

    A batch covers `batch_size` selected images; those that cannot be decoded are left out of its tensor. A
    stream has no random access, so it is read by one worker at the most.

    Raises:
        ValueError: `batch_size` is below 1 or `workers` below 0.
        SeProbeError: the store that holds the images cannot be reached any more.
    """
    source = selection.images.source
    items: Dataset[_Item]
    if isinstance(source, ImageStream):
        items, workers = _StreamedItems(selection, transform, source), min(workers, 1)
    else:
        items = _Items(selection, transform, source)
    loader: DataLoader[_Item] = DataLoader(
        items,
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=torch.cuda.is_available(),
        # Without one of its own the loader would draw from the caller's random numbers.
        generator=torch.Generator().manual_seed(0),
    )
    for batch in loader:
        if isinstance(batch, _Failure):
            raise SeProbeError(batch.reason)
        yield batch


def _item(selection: Selection, index: int, opener: Callable[[], Image.Image], transform: Transform) -> _Item:
    try:
        image = decode_rgb(opener)
    except UndecodableImageError as error:
        return Skip(index, selection.entries[index].sample.path, str(error))
    except SeProbeError as error:
        return _Failure(str(error))
    return index, transform(image)


class _Items(Dataset[_Item]):
    def __init__(self, selection: Selection, transform: Transform, source: ImageSource) -> None:
        self._selection, self._transform, self._source = selection, transform, source

    def __len__(self) -> int:
        return len(self._selection.entries)

    def __getitem__(self, index: int) -> _Item:
        path = self._selection.entries[index].sample.path
        return _item(self._selection, index, partial(self._source.open, path), self._transform)


class _StreamedItems(IterableDataset[_Item]):
    def __init__(self, selection: Selection, transform: Transform, source: ImageStream) -> None:
        self._selection, self._transform, self._source = selection, transform, source

    def __iter__(self) -> Iterator[_Item]:
        places = {entry.position: index for index, entry in enumerate(self._selection.entries)}
        last = max(places, default=-1)
        for position, opener in enumerate(self._source.stream()):
            if position in places:
                yield _item(self._selection, places[position], opener, self._transform)
            if position >= last:
                return


def _collate(items: list[_Item]) -> Batch | _Failure:
    failure = next((item for item in items if isinstance(item, _Failure)), None)
    if failure is not None:
        return failure
    decoded = [item for item in items if isinstance(item, tuple)]
    skipped = tuple(item for item in items if isinstance(item, Skip))
    images = torch.stack([tensor for _, tensor in decoded]) if decoded else torch.empty(0, 3, 0, 0)
    return Batch(tuple(index for index, _ in decoded), images, skipped)
