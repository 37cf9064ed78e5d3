"""Join recordings of disjoint sets of images, made on separate machines, into one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from se_probe.errors import SeProbeError
from se_probe.io.files import only_writer, reading, writing
from se_probe.recording.digest import facts_digest
from se_probe.recording.guard import SCHEMA, root_attributes
from se_probe.recording.header import Header, header_of
from se_probe.recording.layout import IMAGE_COLUMNS, names_of_moments
from se_probe.recording.moments import ClassMoments, Moments
from se_probe.recording.recording import Recording, open_recording
from se_probe.recording.resume import differences, free_settings, listed
from se_probe.recording.run_folder import RECORDING
from se_probe.recording.store import Content, Part, create, tidy, write

_ROWS_AT_ONCE = 4096


def merge(runs: Sequence[str | Path], out: str | Path) -> Recording:
    """Join recordings of disjoint sets of images into one, as if one run had looked at all of them.

    Images stay in the order of the runs; moments merge by the rule of Chan et al. (1983).

    Args:
        runs: folders of two or more complete runs, or their `recording.zarr`, of the same network, weights,
            transform, sites and signals. A class's images are all chosen or all reference.
        out: folder in which `recording.zarr` is made; nothing may be there yet.

    Returns:
        The recording. Its provenance has that of each run in `parts`.

    Raises:
        SeProbeError: the recordings do not fit together, the message says in what; or it cannot be written.
    """
    path = Path(out) / RECORDING
    if len(runs) < 2:
        raise SeProbeError(f"{len(runs)} recording was given; expected two or more to join.")
    if path.exists():
        raise SeProbeError(f"{path} is there already; choose another folder with --out.")
    parts = [open_recording(run) for run in runs]
    _require_fit(parts)
    headers = [header_of(root_attributes(part.path)) for part in parts]
    header = _joined(headers)
    temporary = path.with_name(f".{path.name}.merging")
    with writing(path), only_writer(path):
        shutil.rmtree(temporary, ignore_errors=True)
        create(temporary, header)
        write(temporary, header, _content(parts, header))
        tidy(temporary)
        temporary.rename(path)
    return open_recording(path)


def _require_fit(parts: Sequence[Recording]) -> None:
    for part in parts:
        if not part.complete:
            raise SeProbeError(f"{part.path} is incomplete; continue its run with --resume before it is merged.")
    first = parts[0]
    for other in parts[1:]:
        found = differences(_essence(first), _essence(other), words=("is", "there"))
        if found:
            raise SeProbeError(f"{first.path} and {other.path} cannot be joined: {listed(found)}.")
    owners: dict[str, Recording] = {}
    roles: dict[str, tuple[str, Recording]] = {}
    for part in parts:
        images = part.images
        for path in [*images["path"], *part.skipped["path"]]:
            if path in owners:
                raise SeProbeError(
                    f"the image {path} is in {owners[path].path} and in {part.path}; expected disjoint sets of images."
                )
            owners[path] = part
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
    """Return the header of all parts together: classes and chosen classes in the order of the parts."""
    classes = {entry["name"]: entry for header in headers for entry in header.classes}
    ordered = sorted(classes.values(), key=lambda entry: (entry["index"] is None, entry["index"] or 0))
    chosen = tuple(dict.fromkeys(name for header in headers for name in header.chosen))
    selected = sum(header.selected for header in headers)
    provenances = [header.provenance for header in headers]
    return replace(
        headers[0],
        classes=tuple(ordered),
        chosen=chosen,
        selected=selected,
        provenance={**provenances[0], "data": _data(provenances, selected), "parts": provenances},
        run=uuid4().hex,
        schema=SCHEMA,
    )


def _data(provenances: Sequence[Mapping[str, Any]], selected: int) -> dict[str, Any]:
    data = [dict(item["data"]) for item in provenances]
    locations = {item["location"] for item in data}
    layouts = "; ".join(dict.fromkeys(str(item["layout"]) for item in data))
    return {
        **data[0],
        "title": " + ".join(dict.fromkeys(str(item["title"]) for item in data)),
        "location": locations.pop() if len(locations) == 1 else None,
        "layout": f"merged from {len(data)} recordings: {layouts}",
        "images_found": sum(item["images_found"] for item in data),
        "files_ignored": sum(item["files_ignored"] for item in data),
        "per_class": max(item["per_class"] for item in data),
        "reference_per_class": max(item["reference_per_class"] for item in data),
        "images_selected": selected,
        "selection_sha256": None,
    }


def _content(parts: Sequence[Recording], header: Header) -> Content:
    moments = ClassMoments()
    for part in parts:
        for name, items in _moments(part, header):
            moments.add(name, items)
    tables = []
    for part in parts:
        node: Any = part.tree["images"]
        with reading(part.path):
            tables.append(pd.DataFrame({name: node[name].values for name in IMAGE_COLUMNS}))
    images = pd.concat(tables, ignore_index=True).astype(dict(IMAGE_COLUMNS))
    skipped = [dict(skip) for part in parts for skip in part.tree.attrs["skipped"]]
    return Content(images, moments, skipped, _signals(parts, header))


def _moments(part: Recording, header: Header) -> Iterator[tuple[str, Moments]]:
    """Yield the moments of each class, all signals of all sites side by side."""
    node: Any = part.tree["moments"]
    columns: dict[str, list[NDArray[np.float64]]] = {"mean": [], "m2": []}
    with reading(part.path):
        for block in header.signals:
            for kind, name in zip(columns, names_of_moments(block.signal), strict=True):
                values = node[block.site][name].values
                columns[kind].append(values.reshape(len(values), -1))
    mean, m2 = (np.concatenate(values, axis=1) for values in columns.values())
    for row, name in enumerate(node["class"].values.tolist()):
        yield name, Moments(int(node["count"].values[row]), mean[row], m2[row])


def _signals(parts: Sequence[Recording], header: Header) -> Iterator[Part]:
    """Yield the signals of bounded numbers of images of each part, one part at least."""
    first = 0
    for part in parts:
        tree: Any = part.tree
        rows = tree["gates"]["image"].values
        for start in range(0, max(len(rows), 1), _ROWS_AT_ONCE):
            here = slice(start, start + _ROWS_AT_ONCE)
            with reading(part.path):
                values = {
                    block: xr.Variable(("image", *block.dims), tree[f"gates/{block.site}"][block.signal][here].values)
                    for block in header.signals
                }
            yield Part(rows[here] + first, values)
        first += len(part.images)
