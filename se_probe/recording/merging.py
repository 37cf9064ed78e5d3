"""Join recordings of disjoint sets of images, such as those of separate machines, into one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from se_probe.errors import SeProbeError
from se_probe.io.files import only_writer, reading, writing
from se_probe.recording.guard import SCHEMA, root_attributes
from se_probe.recording.header import Header, facts_digest, header_of
from se_probe.recording.layout import IMAGE_COLUMNS
from se_probe.recording.moments import ClassMoments, Moments
from se_probe.recording.recording import Recording, open_recording
from se_probe.recording.resume import differences, free_settings, listed
from se_probe.recording.run_folder import RECORDING
from se_probe.recording.store import Content, Part, create, tidy, write

_ROWS_AT_ONCE = 4096


def merge(runs: Sequence[str | Path], out: str | Path) -> Recording:
    """Join recordings of disjoint sets of images into one, as if one run had recorded them all.

    Images stay in the order of the runs; moments merge by the rule of Chan et al. (1983).

    Args:
        runs: folders of two or more complete runs, or their `recording.zarr`, of the same network, weights,
            transform, sites and signals. A class's images are all chosen or all reference.
        out: folder in which `recording.zarr` is made; nothing may be there yet.

    Returns:
        The recording. Its provenance has that of each run in `parts`.

    Raises:
        SeProbeError: the recordings differ in what they must share, or the result cannot be written.
    """
    path = Path(out) / RECORDING
    if len(runs) < 2:
        raise SeProbeError(f"{len(runs)} recording was given; expected two or more to join.")
    if path.exists():
        raise SeProbeError(f"{path} already exists; choose another folder with --out.")
    parts = [open_recording(run) for run in runs]
    _require_same_network(parts)
    _require_disjoint_images(parts)
    header = _joined([header_of(root_attributes(part.path)) for part in parts])
    temporary = path.with_name(f".{path.name}.merging")
    with writing(path), only_writer(path):
        shutil.rmtree(temporary, ignore_errors=True)
        create(temporary, header)
        write(temporary, header, _content(parts, header))
        tidy(temporary)
        temporary.rename(path)
    return open_recording(path)


def _require_same_network(parts: Sequence[Recording]) -> None:
    for part in parts:
        if not part.complete:
            raise SeProbeError(f"{part.path} is incomplete; continue its run with --resume before it is merged.")
    first = parts[0]
    for other in parts[1:]:
        if changed := differences(_essence(first), _essence(other), words=("is", "there")):
            raise SeProbeError(f"{first.path} and {other.path} cannot be joined: {listed(changed)}.")


def _require_disjoint_images(parts: Sequence[Recording]) -> None:
    """Refuse an image in two recordings, and a class that is chosen in one and reference in another."""
    owners: dict[str, Recording] = {}
    roles: dict[str, tuple[str, Recording]] = {}
    for part in parts:
        images = part.images
        for path in [*images["path"], *part.skipped["path"]]:
            owner = owners.setdefault(path, part)
            if owner is not part:
                raise SeProbeError(
                    f"the image {path} is in {owner.path} and in {part.path}; expected disjoint sets of images."
                )
        for name, role in images[["class", "role"]].drop_duplicates().itertuples(index=False):
            before, owner = roles.setdefault(name, (role, part))
            if before != role:
                raise SeProbeError(
                    f"{name} is {before} in {owner.path} and {role} in {part.path}; expected a class whose gates are "
                    "all kept or none."
                )


def _essence(recording: Recording) -> dict[str, Any]:
    """Return the facts that joined recordings must share."""
    provenance = recording.provenance
    free = (*free_settings(provenance), "capture")
    return {
        "model": provenance["model"],
        "settings": {key: value for key, value in provenance["settings"].items() if key not in free},
        "scale": provenance.get("scale"),
        "signals": recording.signals,
        "effect outcome": recording.effects.get("outcome"),
        "effect reference": facts_digest(recording.effects.get("reference")),
        "sites": {site.name: site.to_dict() for site in recording.sites},
    }


def _joined(headers: Sequence[Header]) -> Header:
    """Return the header of all parts: classes by output unit, chosen classes in the order of the parts."""
    classes = {entry["name"]: entry for header in headers for entry in header.classes}
    selected = sum(header.selected for header in headers)
    provenances = [header.provenance for header in headers]
    return replace(
        headers[0],
        classes=tuple(sorted(classes.values(), key=lambda entry: (entry["index"] is None, entry["index"] or 0))),
        chosen=tuple(dict.fromkeys(name for header in headers for name in header.chosen)),
        selected=selected,
        provenance={**provenances[0], "data": _data(provenances, selected), "parts": provenances},
        run=uuid4().hex,
        schema=SCHEMA,
    )


def _data(provenances: Sequence[Mapping[str, Any]], selected: int) -> dict[str, Any]:
    data = [item["data"] for item in provenances]
    locations = {item["location"] for item in data}
    layouts = "; ".join(dict.fromkeys(str(item["layout"]) for item in data))
    return {
        **data[0],
        "title": " + ".join(dict.fromkeys(str(item["title"]) for item in data)),
        "location": locations.pop() if len(locations) == 1 else None,
        "layout": f"merged from {len(data)} recordings: {layouts}",
        **{key: sum(item[key] for item in data) for key in ("images_found", "files_ignored")},
        **{key: max(item[key] for item in data) for key in ("per_class", "reference_per_class")},
        "images_selected": selected,
        "selection_sha256": None,
    }


def _content(parts: Sequence[Recording], header: Header) -> Content:
    moments, tables, skipped = ClassMoments(), [], []
    for part in parts:
        for name, items in _moments(part, header):
            moments.add(name, items)
        stored = part.tree["images"].to_dataset()
        with reading(part.path):
            tables.append(pd.DataFrame({name: stored[name].values for name in IMAGE_COLUMNS}))
        skipped += [dict(skip) for skip in part.tree.attrs["skipped"]]
    images = pd.concat(tables, ignore_index=True).astype(dict(IMAGE_COLUMNS))
    return Content(images, moments, skipped, _signals(parts, header))


def _moments(part: Recording, header: Header) -> Iterator[tuple[str, Moments]]:
    """Yield the moments of each class, all signals side by side."""
    stored = [part.of(block.signal).moments(block.site) for block in header.signals]
    count = stored[0]["count"]
    mean, m2 = (np.concatenate([_flat(item[name].values) for item in stored], axis=1) for name in ("mean", "m2"))
    for row, name in enumerate(count["class"].values.tolist()):
        yield name, Moments(int(count[row]), mean[row], m2[row])


def _signals(parts: Sequence[Recording], header: Header) -> Iterator[Part]:
    first = 0
    for part in parts:
        tree: Any = part.tree
        rows = tree["gates"]["image"].values
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            here = slice(start, start + _ROWS_AT_ONCE)
            with reading(part.path):
                values = [tree[f"gates/{block.site}"][block.signal][here].values for block in header.signals]
            yield rows[here] + first, np.concatenate([_flat(item) for item in values], axis=1)
        first += len(part.images)


def _flat(values: NDArray[np.floating]) -> NDArray[np.floating]:
    return values.reshape(len(values), -1)
