"""Checks a recording against itself: whether everything is there, unchanged, and agrees with everything else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from se_probe.errors import SeProbeError
from se_probe.recording.digest import ArrayDigest
from se_probe.recording.guard import check_arrays, root_attributes
from se_probe.recording.header import COMPLETE, Header, SignalColumns, attributes_digest, header_of
from se_probe.recording.moments import Moments
from se_probe.recording.recording import STORE_NAME
from se_probe.recording.shards import IMAGE_COLUMNS, DamagedShardError, Shard, shard_paths
from se_probe.recording.store import ZARR_FORMAT, names_of_moments, shard_folder

_ROWS_AT_ONCE = 4096
# Moments merged in another order differ by the rounding of float64, which grows with the number of images.
_RELATIVE = 1e-9


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes:
        path: the recording.
        status: "complete" or "incomplete".
        images: number of images recorded.
        skipped: number of images left out.
        arrays: number of arrays, or shards of an incomplete recording, that were read.
        problems: what is wrong, a line each; none where the recording is complete and sound.
    """

    path: Path
    status: str
    images: int
    skipped: int
    arrays: int
    problems: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether the recording is complete and nothing is wrong with it."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {**asdict(self), "path": str(self.path), "problems": list(self.problems), "sound": self.sound}


def verify(path: str | Path) -> Verification:
    """Check a recording: schema, arrays, checksums, counts, rows, and moments against the gates of each image.

    The moments are computed again for the classes whose gates are all kept; those of reference classes have their
    checksums only. That a recording was stopped before its end is a problem too, beside what is wrong with its shards.

    Args:
        path: a run's folder or the `recording.zarr` in it.

    Raises:
        SeProbeError: there is no recording at `path`, or a later version of se-probe wrote it.
    """
    store = Path(path)
    if (store / STORE_NAME).is_dir():
        store = store / STORE_NAME
    attributes = root_attributes(store)
    try:
        header = header_of(attributes)
        if attributes["status"] != COMPLETE:
            return _verify_shards(store, header)
        check_arrays(store)
    except SeProbeError as error:
        return Verification(store, str(attributes["status"]), 0, 0, 0, (str(error),))
    return _verify_complete(store, header, attributes)


def _verify_shards(store: Path, header: Header) -> Verification:
    problems: list[str] = []
    images = skipped = covered = last = 0
    paths = shard_paths(shard_folder(store))
    for path in paths:
        try:
            shard = Shard.read(path)
        except DamagedShardError as error:
            problems.append(str(error))
            continue
        if shard.covered.start < last:
            problems.append(f"the shard {path} covers image {shard.covered.start}, which the one before it has too")
        last = shard.covered.stop
        covered += len(shard.covered)
        images, skipped = images + len(shard.images), skipped + len(shard.skipped)
    problems.append(f"the recording is incomplete: {covered} of {header.selected} images; continue with --resume")
    return Verification(store, "incomplete", images, skipped, len(paths), tuple(problems))


def _verify_complete(store: Path, header: Header, attributes: dict[str, Any]) -> Verification:
    arrays = dict(_arrays(store))
    problems = [*_wrong_shapes(arrays, header)]
    if problems:
        return Verification(store, COMPLETE, 0, 0, len(arrays), tuple(problems))
    problems += _wrong_checksums(arrays, attributes)
    images: Any = {name: arrays[f"images/{name}"][:] for name in ("path", "class", "role")} if not problems else None
    skipped = attributes["skipped"]
    if images is not None:
        problems += _wrong_images(images, skipped, header)
        problems += _wrong_rows(arrays["gates/image"][:], images["role"])
        problems += _wrong_counts(arrays, images["class"])
    if not problems:
        for block in header.blocks:
            problems += _wrong_moments(arrays, block, images["class"])
    recorded = arrays["images/path"].shape[0]
    return Verification(store, COMPLETE, recorded, len(skipped), len(arrays), tuple(problems))


def _arrays(store: Path) -> Iterator[tuple[str, Any]]:
    for path in sorted(store.rglob(".zarray")):
        yield path.parent.relative_to(store).as_posix(), zarr.open_array(path.parent, mode="r", zarr_format=ZARR_FORMAT)


def _wrong_shapes(arrays: dict[str, Any], header: Header) -> Iterator[str]:
    images = _length(arrays, "images/path")
    rows, classes = _length(arrays, "gates/image"), _length(arrays, "moments/class")
    expected: dict[str, tuple[int, ...]] = {f"images/{name}": (images,) for name in IMAGE_COLUMNS}
    expected |= {"gates/image": (rows,), "moments/class": (classes,), "moments/count": (classes,)}
    for block in header.blocks:
        expected[f"gates/{block.site}/{block.signal}"] = (rows, *block.shape)
        for name in names_of_moments(block.signal):
            expected[f"moments/{block.site}/{name}"] = (classes, *block.shape)
    for name, shape in expected.items():
        if name not in arrays:
            yield f"{name} is missing"
        elif arrays[name].shape != shape:
            yield f"{name} has the shape {arrays[name].shape}; expected {shape}"
    for name in arrays.keys() - expected.keys():
        yield f"{name} does not belong to the recording"


def _length(arrays: dict[str, Any], name: str) -> int:
    return int(arrays[name].shape[0]) if name in arrays else 0


def _wrong_checksums(arrays: dict[str, Any], attributes: dict[str, Any]) -> Iterator[str]:
    checksums = attributes.get("checksums")
    if not checksums:
        yield f"the recording has no checksums (schema {attributes['schema']}); only a new one has them"
        return
    if checksums.get("attributes") != attributes_digest(attributes):
        yield "the attributes do not have their checksum: they were changed after the recording"
    for name, array in arrays.items():
        try:
            digest = ArrayDigest()
            for part in _blocks(array):
                digest.update(part)
        except Exception as error:  # Decoders raise anything, down to SystemError, where bytes are damaged.
            yield f"{name} cannot be read ({error})"
            continue
        if checksums.get(name) != digest.hex():
            yield f"{name} does not have its checksum: its values were changed after the recording"


def _blocks(array: Any) -> Iterator[NDArray[Any]]:
    """Yield the rows of an array, a bounded number at a time and one part at least."""
    for start in range(0, max(array.shape[0], 1), _ROWS_AT_ONCE):
        yield np.asarray(array[start : start + _ROWS_AT_ONCE])


def _wrong_images(images: dict[str, NDArray[Any]], skipped: list[dict[str, str]], header: Header) -> Iterator[str]:
    paths = [*images["path"].tolist(), *(item["path"] for item in skipped)]
    if len(paths) != header.selected:
        yield f"{len(paths)} images were recorded or skipped; expected the {header.selected} selected ones"
    twice = next((path for path in paths if paths.count(path) > 1), None) if len(set(paths)) < len(paths) else None
    if twice is not None:
        yield f"the image {twice} is there more than once"
    wrong = {str(name) for name in images["class"][images["role"] == "chosen"]} ^ set(header.chosen)
    if wrong:
        yield f"the classes with gates are not the chosen ones ({', '.join(sorted(wrong))})"


def _wrong_rows(rows: NDArray[np.int64], roles: NDArray[Any]) -> Iterator[str]:
    chosen = np.flatnonzero(roles == "chosen")
    if not np.array_equal(rows, chosen):
        yield f"gates/image names {len(rows)} rows that are not those of the {len(chosen)} chosen images in order"


def _wrong_counts(arrays: dict[str, Any], classes: NDArray[Any]) -> Iterator[str]:
    names, counts = arrays["moments/class"][:].tolist(), arrays["moments/count"][:].tolist()
    seen, numbers = np.unique(classes, return_counts=True)
    images = dict(zip(seen.tolist(), numbers.tolist(), strict=True))
    for name, count in zip(names, counts, strict=True):
        if images.pop(name, 0) != count:
            yield f"the moments of {name} count {count} images; there are {int((classes == name).sum())}"
    for name in images:
        yield f"the moments of {name} are missing"


def _wrong_moments(arrays: dict[str, Any], block: SignalColumns, classes: NDArray[Any]) -> Iterator[str]:
    """Compare the moments of the chosen classes with those of their images' signals, one class at a time."""
    signals, names = arrays[f"gates/{block.site}/{block.signal}"], arrays["moments/class"][:].tolist()
    stored = [arrays[f"moments/{block.site}/{name}"] for name in names_of_moments(block.signal)]
    where = f"{block.signal} of {block.site}"
    moments: dict[str, Moments] = {}
    of_row = classes[arrays["gates/image"][:]]
    for start, part in zip(range(0, len(of_row), _ROWS_AT_ONCE), _blocks(signals), strict=False):
        if not np.isfinite(part).all():
            yield f"the {where} is NaN or infinite in {(~np.isfinite(part)).sum()} places"
            return
        here = of_row[start : start + _ROWS_AT_ONCE]
        for name in np.unique(here).tolist():
            new = Moments.of(part[here == name])
            moments[name] = moments[name].merge(new) if name in moments else new
    for name, exact in moments.items():
        mean, m2 = (array[names.index(name)] for array in stored)
        scale = exact.count * (np.square(exact.mean) + exact.m2 / exact.count)
        if not np.allclose(mean, exact.mean, rtol=_RELATIVE, atol=1e-12):
            yield f"the mean {where} of {name} is not that of its images (off by {np.abs(mean - exact.mean).max():.2g})"
        if (np.abs(m2 - exact.m2) > _RELATIVE * (exact.m2 + 1e-3 * scale)).any():
            yield f"m2 of the {where} of {name} is not that of its images (off by {np.abs(m2 - exact.m2).max():.2g})"
