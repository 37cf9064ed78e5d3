"""The public sets of labelled images that can be fetched without an account, and where they are in the cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import platformdirs

from se_probe.errors import SeProbeError

# The file beside the unpacked images that says what was fetched, from where and when.
RECEIPT = "fetched.json"

_HUB = "https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main"


@dataclass(frozen=True)
class PublicSet:
    """One archive of labelled images.

    Attributes:
        name: what the set is called.
        parts: the folders of labelled images in the archive, by the suffix that selects one; the first by default.
        url: where its publisher serves it.
        size: of the archive, in bytes.
        sha256: of the archive. `docs/data.md` says where size and checksum were read.
        unpacked: upper bound on the bytes of the unpacked files.
        holds: description of the images.
        licence: its terms.
        imagenet_indices: whether folders are named by class indices of ImageNet-1k.
    """

    name: str
    parts: dict[str, str]
    url: str
    size: int
    sha256: str
    unpacked: int
    holds: str
    licence: str
    imagenet_indices: bool

    @property
    def folder_name(self) -> str:
        """Name of its folder in the cache."""
        return self.name.replace(":", "-")

    @property
    def archive_name(self) -> str:
        """File name of its archive."""
        return self.url.rpartition("/")[2]


def _imagenetv2(variant: str, file: str, size: int, sha256: str, chosen: str) -> PublicSet:
    return PublicSet(
        name=f"imagenetv2:{variant}",
        parts={"": f"{file}-format-val"},
        url=f"{_HUB}/{file}.tar.gz",
        size=size,
        sha256=sha256,
        unpacked=1_350_000_000,
        holds=f"10 photographs of each of ImageNet's 1000 classes, {chosen}",
        licence="MIT for the collection; the photographs are Flickr's, to be used as ImageNet's",
        imagenet_indices=True,
    )


_SETS = (
    _imagenetv2(
        "matched-frequency",
        "imagenetv2-matched-frequency",
        1_264_079_360,
        "f0c37fdf925916b19ea1323cd9a2208cdb6959ba2c32eef2a7fc393835c9ca7c",
        "chosen by annotators as often as ImageNet's own",
    ),
    _imagenetv2(
        "threshold-0.7",
        "imagenetv2-threshold0.7",
        1_249_906_176,
        "32142bfe998f9cfa4141be691f6a80eeb1e27b24bd532a668eb08c26d98897a2",
        "chosen by at least 70 % of annotators",
    ),
    _imagenetv2(
        "top-images",
        "imagenetv2-top-images",
        1_245_927_936,
        "85e4ace30f3f0d660152062254b8759dda66267b27f7ec0fd8d5768f1073a04b",
        "those that annotators chose most often",
    ),
    PublicSet(
        name="tiny-imagenet",
        parts={"val": "tiny-imagenet-200/val", "train": "tiny-imagenet-200/train"},
        url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        size=248_100_043,
        sha256="6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
        unpacked=600_000_000,
        holds="photographs of 64×64 pixels of 200 of ImageNet's classes: 50 of each (val), 500 of each (train)",
        licence="none stated; the photographs are ImageNet's (research, not commerce)",
        imagenet_indices=False,
    ),
)
PUBLIC_SETS: dict[str, PublicSet] = {item.name: item for item in _SETS}
"""The sets by name, `NAME:VARIANT` where there are several variants."""

_ALIASES = {
    "imagenetv2": "imagenetv2:matched-frequency",
    "imagenetv2:threshold": "imagenetv2:threshold-0.7",
    "imagenetv2:threshold0.7": "imagenetv2:threshold-0.7",
}
_FAMILIES = frozenset(name.partition(":")[0] for name in PUBLIC_SETS)


def is_public_name(data: str) -> bool:
    """Return whether `data` is the name of a public set, known or not after the colon, and not a path."""
    return data.partition(":")[0].lower() in _FAMILIES


def public_set(data: str) -> tuple[PublicSet, str]:
    """Return the public set of a name such as `imagenetv2`, `imagenetv2:top-images` or `tiny-imagenet:train`.

    Returns:
        The set, and the folder within its archive.

    Raises:
        SeProbeError: there is no such set, variant or part.
    """
    wanted = data.strip().lower()
    wanted = _ALIASES.get(wanted, wanted)
    if wanted in PUBLIC_SETS:
        found = PUBLIC_SETS[wanted]
        return found, next(iter(found.parts.values()))
    name, _, part = wanted.rpartition(":")
    if name in PUBLIC_SETS and part in PUBLIC_SETS[name].parts:
        return PUBLIC_SETS[name], PUBLIC_SETS[name].parts[part]
    names = [f"{item.name}:{part}" if part else item.name for item in PUBLIC_SETS.values() for part in item.parts]
    raise SeProbeError(f'there is no public set "{data}"; expected one of {", ".join(names)}')


def full_name(data: str) -> str:
    """Return the canonical name of a public set, with its variant or part.

    Raises:
        SeProbeError: there is no such set, variant or part.
    """
    public, folder = public_set(data)
    part = next(name for name, place in public.parts.items() if place == folder)
    return f"{public.name}:{part}" if part else public.name


class State(NamedTuple):
    """What is on disk of a set: its folder, or None and the bytes of its archive downloaded so far."""

    folder: Path | None
    begun: int


def home(public: PublicSet) -> Path:
    """Return the folder of a set, whether or not it exists; it appears whole or not at all."""
    return downloads().parent / public.folder_name


def downloads() -> Path:
    """Return the folder of archives, below the folder that `SE_PROBE_CACHE` names or the system's for caches."""
    named = os.environ.get("SE_PROBE_CACHE")
    cache = Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("se-probe"))
    return cache / "data" / "downloads"


def part_of(archive: Path) -> Path:
    """Return the path of an archive's partial download."""
    return archive.with_name(f"{archive.name}.part")


def state_of(public: PublicSet) -> State:
    """Return what is on disk of a set."""
    if home(public).is_dir():
        return State(home(public), 0)
    archive = downloads() / public.archive_name
    begun = next((path.stat().st_size for path in (archive, part_of(archive)) if path.is_file()), 0)
    return State(None, begun)


def fetched_folder(data: str) -> Path:
    """Return the folder of labelled images of a public set by name, without fetching it.

    Raises:
        SeProbeError: there is no such set, or it was not fetched; the message says how to.
    """
    public, part = public_set(data)
    folder = home(public) / part
    if folder.is_dir():
        return folder
    known = public.name.partition(":")
    variant = f" --variant {known[2]}" if known[2] and known[2] != "matched-frequency" else ""
    beside = f", or give the folder of that name as ./{data}" if Path(data).exists() else ""
    raise SeProbeError(
        f"{data} is not on this machine (not at {folder}); se-probe data fetch {known[0]}{variant} downloads it "
        f"({readable_size(public.size)}){beside}"
    )


def readable_size(size: int) -> str:
    """Return a number of bytes as text: 248 MB, 1.26 GB."""
    if size >= 10**9:
        return f"{size / 10**9:.2f} GB"
    return f"{size / 10**6:.0f} MB" if size >= 10**6 else f"{size / 10**3:.1f} kB"
