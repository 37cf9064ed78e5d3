"""Start a recording, or continue one that an earlier run with the same settings left unfinished."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from se_probe.errors import SeProbeError
from se_probe.io.files import writing
from se_probe.recording.guard import COMPLETE, INCOMPLETE, SCHEMA, root_attributes
from se_probe.recording.header import Header, header_of
from se_probe.recording.shards import DamagedShardError, Shard, scan_shards
from se_probe.recording.store import create, put_attributes, tidy

# Facts that may differ in a continuation: they change no gate beyond the stated tolerance.
_FREE_FACTS = ("command", "created", "versions", "machine", "resumed", "execution", "free_settings")
# For recordings that do not list them.
_FREE_SETTINGS = ("batch_size", "workers", "device", "ranks", "preset")
_SHOWN = 80
_LISTED = 6


def begin(
    path: Path, header: Header, prints: Sequence[str | None], *, resume: bool, say: Callable[[str], None]
) -> list[int] | None:
    """Return the indices in the selection of the images left to record, None where the recording is complete.

    Damaged shards, those of another run, and those with a skipped image that has changed since are removed, and their
    images are recorded again.

    Args:
        path: where the recording is, or is to be made.
        header: what the run is about to record.
        prints: fingerprint of each selected image, None where it is not known.
        resume: whether to continue what is at `path`.
        say: called with each line of the log.

    Raises:
        SeProbeError: `path` exists and `resume` is False, or it was recorded with other settings or images.
    """
    total = header.selected
    if not path.exists():
        with writing(path):
            create(path, header)
        if resume:
            say(f"resume    nothing was recorded at {path} yet; starting")
        return list(range(total))
    if not resume:
        raise SeProbeError(f"{path} already exists; continue it with resume=True, or choose another path.")
    require_same(path, header)
    attributes = root_attributes(path)
    if attributes["status"] == COMPLETE:
        with writing(path):
            tidy(path)
        say(f"resume    {path} is complete already: nothing is left to record")
        return None
    with writing(path):
        covered = _covered(path, header_of(attributes), prints, say)
        _keep_provenance(path, header)
    left = [place for place in range(total) if place not in covered]
    say(f"resume    {total - len(left)} of {total} images are recorded in {path}; {len(left)} are left")
    return left


def _covered(path: Path, header: Header, prints: Sequence[str | None], say: Callable[[str], None]) -> set[int]:
    """Return the indices that undamaged shards cover, and remove the other shards."""
    covered: set[int] = set()
    for file, shard in scan_shards(path, header):
        if isinstance(shard, DamagedShardError):
            problem = str(shard)
        else:
            _require_unchanged(path, shard, prints)
            repaired = [item for item in shard.skipped if _differ(item.get("fingerprint"), prints[item["place"]])]
            if not repaired:
                covered.update(shard.covered)
                continue
            problem = f"the shard of {repaired[0]['path']}, which was skipped and has changed since"
        file.unlink()
        say(f"resume    {problem}; it was removed and its images are recorded again")
    return covered


def _require_unchanged(path: Path, shard: Shard, prints: Sequence[str | None]) -> None:
    for image, place, before in shard.images[["path", "place", "fingerprint"]].itertuples(index=False):
        if _differ(before, prints[place]):
            raise SeProbeError(
                f"{path} cannot be continued: the image {image} has changed since it was recorded ({before}, now "
                f"{prints[place]}). Put the former images back, or start again with --overwrite."
            )


def _differ(before: str | None, now: str | None) -> bool:
    return before is not None and now is not None and before != now


def _keep_provenance(path: Path, header: Header) -> None:
    attributes = root_attributes(path)
    facts = {key: header.provenance[key] for key in _FREE_FACTS if key in header.provenance}
    free = free_settings(header.provenance)
    settings = {key: value for key, value in header.provenance.get("settings", {}).items() if key in free}
    attributes["provenance"].setdefault("resumed", []).append({**facts, "settings": settings})
    put_attributes(path, attributes)


def keep_execution(path: Path, facts: dict[str, Any]) -> None:
    """Add how the network is run to the provenance of this run or continuation."""
    attributes = root_attributes(path)
    provenance = attributes["provenance"]
    (provenance["resumed"][-1] if "resumed" in provenance else provenance)["execution"] = facts
    with writing(path):
        put_attributes(path, attributes)


def require_same(path: Path, header: Header) -> None:
    """Raise SeProbeError, with the differences, where a run cannot continue the recording at `path`."""
    attributes = root_attributes(path)
    if attributes["schema"] != SCHEMA:
        raise SeProbeError(
            f"{path} has recording schema {attributes['schema']}, which this version of se-probe (schema {SCHEMA}) "
            "cannot continue; start again with --overwrite."
        )
    free = free_settings(header.provenance)
    changed = differences(_fixed(attributes, free), _fixed(header.attributes(INCOMPLETE), free))
    if changed:
        raise SeProbeError(
            f"{path} was recorded with other settings and cannot be continued: {listed(changed)}. Give the former "
            "settings, or start again with --overwrite."
        )


def free_settings(provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the settings that may differ between a run and its continuation."""
    return tuple(provenance.get("free_settings", _FREE_SETTINGS))


def _fixed(attributes: Mapping[str, Any], free: Sequence[str]) -> dict[str, Any]:
    """Return the facts that must not differ in a continuation, in their JSON form."""
    provenance = {key: value for key, value in attributes["provenance"].items() if key not in _FREE_FACTS}
    settings = provenance.get("settings", {})
    provenance["settings"] = {key: value for key, value in settings.items() if key not in free}
    data = provenance.get("data", {})
    if data.get("location") is not None:
        # The same folder may be named in several ways.
        provenance["data"] = {key: value for key, value in data.items() if key != "title"}
    provenance |= {key: attributes[key] for key in ("signals", "classes", "chosen")}
    provenance["sites"] = {site["name"]: site for site in attributes["sites"]}
    fixed: dict[str, Any] = json.loads(json.dumps(provenance))
    return fixed


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], words: tuple[str, str] = ("was", "now")
) -> list[str]:
    """Return each difference between two sets of facts, as `key: was X, now Y`; nested keys are joined by dots."""
    old, new = dict(_flat(before)), dict(_flat(now))
    return [
        f"{key}: {words[0]} {_short(old.get(key))}, {words[1]} {_short(new.get(key))}"
        for key in old | new
        if old.get(key) != new.get(key)
    ]


def listed(changes: Sequence[str]) -> str:
    """Return the first of some differences as one line."""
    more = f"; and {len(changes) - _LISTED} more" if len(changes) > _LISTED else ""
    return "; ".join(changes[:_LISTED]) + more


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _short(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        names = [str(item.get("name", item.get("site"))) for item in value]
        return f"{len(value)} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
