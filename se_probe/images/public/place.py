"""Where public sets lie in the cache, and whether they are there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from se_probe.errors import SeProbeError
from se_probe.images.public.public_sets import PublicSet, public_set
from se_probe.io.cache import cache_folder

RECEIPT = "fetched.json"
"""The file beside the unpacked images that says what was fetched, from where and when."""


@dataclass(frozen=True)
class State:
    """Whether a set is there: its folder, else None and how many bytes of its archive are."""

    folder: Path | None
    begun: int


def home(public: PublicSet) -> Path:
    """Return the folder of a set, whether or not it is there; it appears whole or not at all."""
    return cache_folder() / "data" / public.folder_name


def downloads() -> Path:
    """Return the folder of archives and of what is under way."""
    return cache_folder() / "data" / "downloads"


def part_of(archive: Path) -> Path:
    """Return where the bytes of an archive gather that are there so far."""
    return archive.with_name(f"{archive.name}.part")


def state_of(public: PublicSet) -> State:
    """Return whether a set is there."""
    if home(public).is_dir():
        return State(home(public), 0)
    archive = downloads() / public.archive_name
    begun = next((path.stat().st_size for path in (archive, part_of(archive)) if path.is_file()), 0)
    return State(None, begun)


def fetched_folder(data: str) -> Path:
    """Return the folder of labelled images that the name of a public set means. Nothing is fetched.

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
    """Return a number of bytes as people say it: 248 MB, 1.26 GB."""
    if size >= 10**9:
        return f"{size / 10**9:.2f} GB"
    return f"{size / 10**6:.0f} MB" if size >= 10**6 else f"{size / 10**3:.1f} kB"
