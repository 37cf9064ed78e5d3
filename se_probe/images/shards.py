"""Read WebDataset shards one image after the other."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath

from PIL import Image

from se_probe.errors import SeProbeError
from se_probe.images.imageset import open_bytes
from se_probe.images.listing import IMAGE_EXTENSIONS


@dataclass(frozen=True)
class WebDatasetStream:
    """The images of WebDataset shards, local or remote, in the order in which they lie in them."""

    urls: tuple[str, ...]

    def stream(self) -> Iterator[Callable[[], Image.Image]]:
        """Return for each record with an image in turn what opens it."""
        return (partial(open_bytes, record.fields[record.image]) for record in self._records(_is_image_field))

    def keys(self, where: str) -> Iterator[tuple[str, int]]:
        """Return the key of each image, which names its shard too, and its class index.

        Raises:
            SeProbeError: a shard cannot be read, or an image has no class.
        """
        try:
            for record in self._records(lambda field: field in ("cls", "json")):
                key = f"{record.key}.{record.image}"
                yield key, _class_index(record.fields, f"{where}: {key}")
        except (OSError, EOFError, tarfile.TarError) as error:
            raise SeProbeError(f"{where} cannot be read ({error}); expected WebDataset's tar shards") from error

    def _records(self, is_read: Callable[[str], bool]) -> Iterator[_Record]:
        """The records that hold an image; fields that are not read are empty."""
        from webdataset import gopen

        for url in self.urls:
            shard = PurePosixPath(url).name
            # Opened here and not by webdataset's own reader, which leaves every shard open.
            with gopen(url) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
                files = (member for member in tar if member.isreg())
                for key, members in groupby(files, key=lambda member: _split_key(member.name)[0]):
                    fields = {
                        field: _read(tar, member) if is_read(field) else b""
                        for member in members
                        if (field := _split_key(member.name)[1])
                    }
                    image = next(filter(_is_image_field, fields), None)
                    if image is not None:
                        yield _Record(f"{shard}/{key}", image, fields)


@dataclass(frozen=True)
class _Record:
    """Files of one key: `a/b.cls` is the field `cls` of the key `a/b`."""

    key: str
    image: str
    fields: Mapping[str, bytes]


def shard_urls(place: str, where: str) -> tuple[str, ...]:
    """Return the shards that a folder of tars, or a pattern such as `data/val-{000..007}.tar`, means.

    Raises:
        SeProbeError: there are none, or the pattern would run a command.
    """
    folder = Path(place).expanduser()
    in_folder = (str(path) for path in sorted(folder.glob("*.tar")))
    urls = tuple(in_folder) if folder.is_dir() else _expanded(place)
    if any(url.startswith("pipe:") for url in urls):
        raise SeProbeError(f"{where} would run a command; expected a folder, a pattern of .tar files or a web address")
    missing = next((url for url in urls if "://" not in url and not Path(url).is_file()), None)
    if not urls or missing is not None:
        raise SeProbeError(
            f"{where}: {missing or folder} is not there or holds no .tar files; expected a folder of shards or a "
            "pattern such as wds/data/val-{000..007}.tar"
        )
    return urls


def _expanded(pattern: str) -> tuple[str, ...]:
    import webdataset

    return tuple(webdataset.shardlists.expand_urls(pattern))


def _split_key(name: str) -> tuple[str, str]:
    # As webdataset does: the key ends at the first dot of the file's name.
    folder, slash, file = name.rpartition("/")
    stem, _, field = file.partition(".")
    return folder + slash + stem, field.lower()


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    return stream.read() if stream is not None else b""


def _is_image_field(field: str) -> bool:
    return f".{field}" in IMAGE_EXTENSIONS


def _class_index(fields: Mapping[str, bytes], where: str) -> int:
    try:
        return int(fields["cls"]) if "cls" in fields else int(json.loads(fields["json"])["label"])
    except (KeyError, TypeError, ValueError) as error:
        raise SeProbeError(
            f"{where} has no class index; expected a .cls file or a label in a .json file (an output index)"
        ) from error
