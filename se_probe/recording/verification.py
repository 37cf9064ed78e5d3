"""Check a recording: whether it is complete, unchanged, and consistent in itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from se_probe.errors import SeProbeError
from se_probe.io.files import reading
from se_probe.recording.guard import COMPLETE, INCOMPLETE, read_json, root_attributes
from se_probe.recording.header import Header, SignalColumns, attributes_digest, header_of
from se_probe.recording.layout import ZARR_FORMAT, ArrayDigest, array_problems, layout_of, names_of_moments
from se_probe.recording.moments import Moments
from se_probe.recording.run_folder import recording_at
from se_probe.recording.shards import DamagedShardError, scan_shards
from se_probe.recording.store import GATHERED, gathered_metadata

_ROWS_AT_ONCE = 4096
# Moments merged in another order differ by the rounding of float64, which grows with the number of images.
_RELATIVE = 1e-9


@dataclass(frozen=True)
class Verification:
    """The result of `verify`.

    Attributes:
        path: the recording.
        status: "complete" or "incomplete".
        images: number of images recorded.
        skipped: number of images left out.
        arrays: number of arrays, or of shards of an incomplete recording.
        problems: what is wrong, one line each; none where the recording is complete and sound.
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

    Moments are recomputed for the chosen classes; those of reference classes, whose gates are not kept, have checksums
    only. That a recording is incomplete counts as a problem.

    Args:
        path: a run's folder or the `recording.zarr` in it.

    Raises:
        SeProbeError: there is no recording at `path`, or a later version of se-probe wrote it.
    """
    store = recording_at(Path(path))
    attributes = root_attributes(store)
    status = str(attributes["status"])
    try:
        header = header_of(attributes)
        with reading(store):
            if status == INCOMPLETE:
                return _verify_shards(store, header)
            return _verify_complete(store, header, attributes)
    except SeProbeError as error:
        return Verification(store, status, 0, 0, 0, (str(error),))


def _verify_shards(store: Path, header: Header) -> Verification:
    problems: list[str] = []
    images = skipped = shards = 0
    for _, shard in scan_shards(store, header):
        shards += 1
        if isinstance(shard, DamagedShardError):
            problems.append(str(shard))
        else:
            images, skipped = images + len(shard.images), skipped + len(shard.skipped)
    done = f"{images + skipped} of {header.selected} images"
    problems.append(f"the recording is incomplete: {done}; continue with --resume")
    return Verification(store, INCOMPLETE, images, skipped, shards, tuple(problems))


def _verify_complete(store: Path, header: Header, attributes: dict[str, Any]) -> Verification:
    names, skipped = layout_of(header), attributes["skipped"]
    if problems := [*array_problems(store, header), *_wrong_gathered(store)]:
        return Verification(store, COMPLETE, 0, 0, len(names), tuple(problems))
    arrays: dict[str, Any] = {name: zarr.open_array(store / name, mode="r", zarr_format=ZARR_FORMAT) for name in names}
    problems = list(_wrong_checksums(arrays, attributes))
    if not problems:
        problems += _wrong_images(arrays, skipped, header)
    if not problems:
        classes = arrays["images/class"][:]
        problems += [problem for block in header.signals for problem in _wrong_moments(arrays, block, classes)]
    return Verification(store, COMPLETE, arrays["images/path"].shape[0], len(skipped), len(arrays), tuple(problems))


def _wrong_gathered(store: Path) -> Iterator[str]:
    """Compare the consolidated metadata, which other programs read, with those of each array."""
    path = store / GATHERED
    if not path.exists():
        return
    expected, content = gathered_metadata(store), read_json(path)
    found = content.get("metadata") if isinstance(content, dict) else None
    found = found if isinstance(found, dict) else {}
    for name in sorted(expected.keys() | found.keys()):
        if _plain(found.get(name)) != _plain(expected.get(name)):
            yield f"{GATHERED} differs from {name}, and so misleads other programs; delete {path}"
            return


def _plain(facts: Any) -> Any:
    """Return metadata without what zarr adds to groups when it consolidates them; None if nothing is left."""
    added = {"consolidated_metadata": {"metadata": {}, "must_understand": False, "kind": "inline"}}
    if isinstance(facts, dict) and facts.items() >= added.items():
        return {key: value for key, value in facts.items() if key not in added} or None
    return facts or None


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
        except Exception as error:  # Decoders raise any type on damaged bytes, even SystemError.
            yield f"{name} cannot be read ({error})"
            continue
        if checksums.get(name) != digest.hex():
            yield f"{name} does not have its checksum: its values were changed after the recording"


def _blocks(array: Any) -> Iterator[NDArray[Any]]:
    """Yield the rows of an array, a bounded number at a time, in at least one part."""
    for start in range(0, max(array.shape[0], 1), _ROWS_AT_ONCE):
        yield np.asarray(array[start : start + _ROWS_AT_ONCE])


def _wrong_images(arrays: dict[str, Any], skipped: list[dict[str, str]], header: Header) -> Iterator[str]:
    """Yield the problems of the table of images, and of rows and counts that refer to it."""
    images, classes, roles = (arrays[f"images/{name}"][:] for name in ("path", "class", "role"))
    paths = Counter([*images.tolist(), *(item["path"] for item in skipped)])
    if paths.total() != header.selected:
        yield f"{paths.total()} images were recorded or skipped; expected the {header.selected} selected ones"
    path, times = paths.most_common(1)[0]
    if times > 1:
        yield f"the image {path} is listed more than once"
    chosen = roles == "chosen"
    if wrong := {str(name) for name in classes[chosen]} ^ set(header.chosen):
        yield f"the classes with gates are not the chosen ones ({', '.join(sorted(wrong))})"
    rows = arrays["gates/image"][:]
    if not np.array_equal(rows, np.flatnonzero(chosen)):
        yield f"gates/image names {len(rows)} rows that are not those of the {chosen.sum()} chosen images in order"
    seen = Counter(classes.tolist())
    names, counts = arrays["moments/class"][:].tolist(), arrays["moments/count"][:].tolist()
    for name, count in zip(names, counts, strict=True):
        if seen[name] != count:
            yield f"the moments of {name} count {count} images; there are {seen[name]}"
    for name in sorted(seen.keys() - set(names)):
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
