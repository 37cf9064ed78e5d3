"""Thumbnails of recorded images, made from the data that the user names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from PIL import Image

from se_probe.errors import SeProbeError
from se_probe.images import demo_images, open_images
from se_probe.images.decode import UndecodableImageError, decode_rgb
from se_probe.images.imageset import FileSource, ImageStream
from se_probe.images.public import is_public_name
from se_probe.images.remote import list_place, shown_url
from se_probe.images.timm_datasets import is_dataset_name
from se_probe.labels import imagenet
from se_probe.recording import Recording

SIDE = 80
QUALITY = 70
MOST = 600
"""At about two kilobytes each, more thumbnails would make up most of a page."""

Opener = Callable[[str], Image.Image]


@dataclass(frozen=True)
class Thumbnails:
    """WebP pictures by the path of their image, at most `SIDE` pixels wide and high.

    `note` says where they come from, and why some are missing where they are.
    """

    pictures: Mapping[str, bytes] = field(repr=False)
    note: str


def make_thumbnails(recording: Recording, paths: Sequence[str], data: str | Path | None = None) -> Thumbnails:
    """Make thumbnails of recorded images.

    A recording may come from someone else, so no folder or URL that it names is opened. Without `data`, only the demo's
    drawings have thumbnails: they are drawn again.

    Args:
        recording: the recording.
        paths: images of its table of images; those after the first `MOST` get no thumbnail.
        data: the data set, as given by the user: a folder, a tar, a URL or a name, see `open_images`.

    Returns:
        The thumbnails. Without data, or where they cannot be opened, there are none, and the note says why.
    """
    source = _source_name(recording, data)
    if source is None:
        hint = "There are no thumbnails: se-probe report RUN --data DIR makes them from the images in DIR."
        return Thumbnails({}, hint)
    try:
        opener = _opener(recording, source)
    except SeProbeError as error:
        return Thumbnails({}, f"There are no thumbnails, and images are named by their paths: {error}")
    pictures: dict[str, bytes] = {}
    failures = 0
    for path in paths[:MOST]:
        try:
            pictures[path] = _thumbnail(decode_rgb(lambda path=path: opener(path)))  # type: ignore[misc]
        except UndecodableImageError:
            failures += 1
        except SeProbeError as error:
            return Thumbnails(pictures, f"Thumbnails are missing from here on: {error}")
    return Thumbnails(pictures, _note(shown_url(source), len(paths), failures))


def open_recorded(recording: Recording, data: str | Path | None = None) -> Callable[[str], Image.Image]:
    """Return a function from the path of a recorded image to its RGB picture.

    Raises:
        SeProbeError: no data were given, or they cannot be opened.
    """
    source = _source_name(recording, data)
    if source is None:
        raise SeProbeError("the images cannot be opened; name them with --data.")
    opener = _opener(recording, source)
    return lambda path: decode_rgb(lambda: opener(path))


def _source_name(recording: Recording, data: str | Path | None) -> str | None:
    """The data given by the user, or the demo's drawings."""
    if data is None:
        return "demo" if recording.provenance["data"]["title"] == "demo" else None
    return str(data)


def _note(source: str, wanted: int, failures: int) -> str:
    sentences = [f"Thumbnails were made from {source} together with this report."]
    if failures:
        sentences.append(f"{failures} of the images can no longer be opened and are named by their paths.")
    if wanted > MOST:
        sentences.append(f"Only the first {MOST} of {wanted} images have one; the others are named by their paths.")
    return " ".join(sentences)


def _opener(recording: Recording, name: str) -> Opener:
    if name == "demo":
        source = demo_images().source
    elif is_dataset_name(name) or is_public_name(name):
        known = recording.provenance["model"]["labels"] == imagenet().title
        source = open_images(name, imagenet() if known else None).source
    else:
        # A recorded path identifies an image, so neither layout nor labels are needed.
        source = FileSource(list_place(name).files)
    if isinstance(source, ImageStream):
        raise SeProbeError(f"the images of {name} can only be read in sequence.")
    return source.open


def _thumbnail(image: Image.Image) -> bytes:
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    stream = BytesIO()
    image.save(stream, "webp", quality=QUALITY, method=6)
    return stream.getvalue()
