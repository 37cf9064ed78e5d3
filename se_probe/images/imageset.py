"""A set of labelled images: its samples, its classes, its layout, and the source of its bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from io import BytesIO
from typing import Protocol, runtime_checkable

from PIL import Image

from se_probe.images.blobs import Blob
from se_probe.labels import ImageClass, LabelSpace

_RASTER = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "JPEG2000", "AVIF", "PPM")


@dataclass(frozen=True)
class Sample:
    """One image.

    Attributes:
        path: its path relative to the data's root, with "/", which identifies it.
        image_class: its class.
        fingerprint: changes with its contents, so that a resumed run notices other images under the same names; None
            for streams, drawings, and samples that were not selected.
    """

    path: str
    image_class: ImageClass
    fingerprint: str | None = field(default=None, compare=False, repr=False)


class ImageSource(Protocol):
    """Random access to the images of a set, from any process."""

    def open(self, path: str) -> Image.Image:
        """Return the image of a sample's path, undecoded where it comes from a file."""

    def fingerprint(self, path: str) -> str | None:
        """Return a fingerprint of the image's contents, None where they cannot change; OSError for unreadable files."""


@runtime_checkable
class ImageStream(Protocol):
    """Sequential access to the images of a set, in the order of its samples."""

    def stream(self) -> Iterator[Callable[[], Image.Image]]:
        """Yield for each sample a function that opens its image."""


@dataclass(frozen=True)
class FileSource:
    """Images in files or tars, on disk or in a store."""

    blobs: Mapping[str, Blob] = field(repr=False)

    def open(self, path: str) -> Image.Image:
        """Return the image, undecoded."""
        return open_bytes(self.blobs[path].read())

    def fingerprint(self, path: str) -> str:
        """Return a fingerprint of the file; raise OSError where it cannot be read."""
        return self.blobs[path].fingerprint()


def open_bytes(data: bytes) -> Image.Image:
    """Return the image that encoded bytes hold, undecoded."""
    if not data:
        raise OSError("the file is empty")
    return Image.open(BytesIO(data), formats=_formats())


@cache
def _formats() -> tuple[str, ...]:
    # Pillow's other formats start programs (Ghostscript for EPS) or hold no photographs.
    Image.init()
    return tuple(name for name in _RASTER if name in Image.ID)


@dataclass(frozen=True)
class ImageSet:
    """Labelled images in a fixed order: by class and path, or in the order of the stream.

    Attributes:
        title: the name of the set.
        samples: the images.
        labels: the network's classes, followed by classes of the data without an output unit.
        layout: description of the layout.
        ignored: number of files that are no image or are outside the layout.
        source: where the images' bytes come from.
        location: path on this machine or URL, None where that is no valid text or may hold a secret.
    """

    title: str
    samples: tuple[Sample, ...] = field(repr=False)
    labels: LabelSpace = field(repr=False)
    layout: str
    ignored: int
    source: ImageSource | ImageStream = field(repr=False, compare=False)
    location: str | None = None

    @cached_property
    def counts(self) -> Mapping[ImageClass, int]:
        """The number of images of each class that has any, in label order."""
        counts = Counter(sample.image_class for sample in self.samples)
        return {image_class: counts[image_class] for image_class in sorted(counts, key=class_order)}

    @property
    def streamed(self) -> bool:
        """Whether the images can only be read one after the other."""
        return isinstance(self.source, ImageStream)

    @property
    def classes(self) -> tuple[ImageClass, ...]:
        """The classes that have images, in label order."""
        return tuple(self.counts)


def class_order(image_class: ImageClass) -> tuple[bool, int, str]:
    """Return the key that sorts classes by output unit, and those without one after them by id or name."""
    index = image_class.index
    return (index is None, -1 if index is None else index, image_class.wnid or image_class.name)


def sample_order(sample: Sample) -> tuple[tuple[bool, int, str], str]:
    """Return the key that sorts samples by class and then by path."""
    return (class_order(sample.image_class), sample.path)
