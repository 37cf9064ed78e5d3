"""Outcomes of interventions, image by image, in `ablation.zarr` beside a run's recording: write and read them.

    /               attributes: schema, status, provenance, interventions, skipped
    /images         path, class, class_index, wnid of every selected image; class_index −1 and wnid "" where unknown
    /outcomes/000000 ...
                    place (image: row of /images), clean (image, measure), changed (image, intervention, measure);
                    measures are those of a classifier, or one metric, which the provenance describes

Parts of the outcomes are written under a temporary name and then renamed: a run that is stopped or killed leaves
whole parts, and the status "incomplete".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr
import zarr

from se_probe.ablation.measure import MEASURES, BatchOutcomes
from se_probe.ablation.planning import SiteGroup
from se_probe.errors import SeProbeError
from se_probe.images import Selection
from se_probe.io.files import reading, require_plain_files
from se_probe.recording.guard import ROOT_ATTRIBUTES, read_json
from se_probe.recording.layout import ZARR_FORMAT, ArrayLayout, check_array, strings
from se_probe.recording.run_folder import ABLATION

SCHEMA = 3
# The first schema whose arrays have all their chunks on disk, each with whole rows.
_WHOLE_ROWS = 2
INCOMPLETE, COMPLETE = "incomplete", "complete"
IMAGES, OUTCOMES = "images", "outcomes"
# Images in a part of the outcomes.
IMAGES_AT_ONCE = 1024
_TEXT = ArrayLayout(("image",), (), r"<U[1-9]\d*", "images")
_IMAGE_ARRAYS = {
    "path": _TEXT,
    "class": _TEXT,
    "class_index": ArrayLayout(("image",), (), "<i8", "images"),
    "wnid": _TEXT,
}
# Measures that are yes or no, and those that an untouched network has as well.
_FLAGS = {"top1", "top5", "agree"}
_CLEAN = {"top1", "top5", "nll", "metric"}


class Ablation:
    """What interventions on gates did to a network's predictions, image by image.

    Attributes:
        path: the store that it was read from.
    """

    def __init__(self, path: Path, attributes: dict[str, Any], images: xr.Dataset, outcomes: xr.Dataset) -> None:
        self.path = path
        self._attributes = attributes
        self._images = images
        self._outcomes = outcomes

    @property
    def provenance(self) -> dict[str, Any]:
        """As that of a recording; `replacement` and `gates_from` say what replaced gates."""
        facts: dict[str, Any] = self._attributes["provenance"]
        return facts

    @property
    def metric(self) -> dict[str, Any] | None:
        """Name, unit and direction (`lower_is_better`) of a metric, None for the measures of a classifier."""
        facts: dict[str, Any] | None = self.provenance.get("metric")
        return facts

    @property
    def demo(self) -> bool:
        """Whether network or images are the bundled demo's."""
        return bool(self.provenance.get("demo", False))

    @property
    def complete(self) -> bool:
        """Whether all images were measured; a run that was stopped has the outcomes up to there."""
        return bool(self._attributes["status"] == COMPLETE)

    @cached_property
    def interventions(self) -> pd.DataFrame:
        """One row per intervention: name, scope ("site", "cumulative", "stage", "sites"), sites, replacement."""
        return pd.DataFrame(self._attributes["interventions"], columns=["name", "scope", "sites", "replacement"])

    @cached_property
    def images(self) -> pd.DataFrame:
        """One row per image measured: path, class, class_index (missing where the network has no such unit), wnid."""
        table = pd.DataFrame({name: self._images[name].values for name in _IMAGE_ARRAYS})
        table = table.iloc[self._outcomes["place"].values].reset_index(drop=True)
        table["class_index"] = table["class_index"].astype("Int64").where(table["class_index"] >= 0)
        table["wnid"] = table["wnid"].where(table["wnid"] != "")
        return table.rename_axis("image")

    @cached_property
    def outcomes(self) -> xr.Dataset:
        """The outcomes of every image under every intervention.

        `top1`, `top5`, `agree` (bool), `nll` and `kl` (nats): (intervention, image); `clean_top1`, `clean_top5`,
        `clean_nll`: (image); `labelled` (image): whether the network has a unit for the image's class, without
        which `nll` is NaN and `top1` and `top5` are False. With a metric instead `metric` (intervention, image) and
        `clean_metric` (image), in its unit, and `labelled` (image), whether the image was measured.
        """
        names = MEASURES if self.metric is None else ("metric",)
        arrays = {"": self._outcomes["changed"], "clean_": self._outcomes["clean"]}
        values = {
            f"{prefix}{name}": array[..., number] == 1 if name in _FLAGS else array[..., number]
            for prefix, array in arrays.items()
            for number, name in enumerate(names)
            if not prefix or name in _CLEAN
        }
        labelled = values["clean_nll" if self.metric is None else "clean_metric"].notnull()
        classes = self.images["class"].to_numpy(dtype=str)
        coords = {"intervention": self.interventions["name"].to_numpy(), "class": ("image", classes)}
        return xr.Dataset({**values, "labelled": labelled}, coords=coords).transpose("intervention", "image")

    @property
    def skipped(self) -> pd.DataFrame:
        """The images that could not be decoded, one row each: path, class and reason."""
        return pd.DataFrame(self._attributes["skipped"], columns=["path", "class", "reason"])

    def __repr__(self) -> str:
        state = "" if self.complete else ", INCOMPLETE: the run was stopped before its end"
        return (
            f"<se_probe.Ablation {self.path}: {self.provenance['model']['name']}, {self.provenance['replacement']}, "
            f"{len(self.interventions)} interventions on {len(self.images)} images{state}>"
        )


def open_ablation(path: str | Path) -> Ablation:
    """Open the outcomes of a run of `ablate`.

    Args:
        path: a run's folder or the `ablation.zarr` in it.

    Raises:
        SeProbeError: there is none at `path`, a later version of se-probe wrote it, or it is damaged.
    """
    store = Path(path)
    store = store / ABLATION if (store / ABLATION).is_dir() else store
    attributes = _attributes(store)
    with reading(store):
        whole = attributes["schema"] >= _WHOLE_ROWS
        images = _read(store / IMAGES, _IMAGE_ARRAYS, whole=whole)
        layout = _outcome_arrays(attributes)
        parts = [_read(part, layout, whole=whole) for part in sorted((store / OUTCOMES).glob("[0-9]*"))]
        if not parts:
            raise ValueError("it holds no outcomes")
        outcomes = xr.concat(parts, "image")
        places = outcomes["place"].values
        if places.size and not (places.min() >= 0 and places.max() < images.sizes["image"]):
            raise ValueError(f"it has outcomes of image {places.max()}, but {images.sizes['image']} images")
    return Ablation(store, attributes, images, outcomes)


def _attributes(store: Path) -> dict[str, Any]:
    """Return the attributes of a store, checked."""
    none = SeProbeError(
        f"{store} holds no interventions; expected the folder of a run of se-probe ablate, or its {ABLATION}."
    )
    if not (store / ROOT_ATTRIBUTES).is_file():
        raise none
    with reading(store):
        require_plain_files(store)
    attributes = read_json(store / ROOT_ATTRIBUTES)
    if not isinstance(attributes, dict) or "interventions" not in attributes:
        raise none
    schema = attributes.get("schema")
    if type(schema) is int and schema > SCHEMA:
        raise SeProbeError(
            f"{store} has schema {schema} of interventions; this version of se-probe reads up to {SCHEMA}, use a "
            "later one."
        )
    problem = next(_attribute_problems(attributes), None)
    if problem:
        raise SeProbeError(f"{store / ROOT_ATTRIBUTES} is damaged: {problem}. Run the ablation again.")
    return attributes


def _attribute_problems(attributes: dict[str, Any]) -> Iterator[str]:
    if type(attributes.get("schema")) is not int or attributes.get("status") not in (INCOMPLETE, COMPLETE):
        yield f"it has schema {attributes.get('schema')!r} and status {attributes.get('status')!r}"
    rows = attributes["interventions"]
    if not isinstance(rows, list) or not rows:
        yield "it has no list of interventions"
    elif not all(isinstance(row, list) and len(row) == 4 and _are_texts(row) for row in rows):
        yield "an intervention is not four texts: name, scope, sites, replacement"
    facts = attributes.get("provenance")
    model = facts.get("model") if isinstance(facts, dict) else None
    if not isinstance(model, dict) or not _are_texts([model.get("name"), model.get("weights")]):
        yield "its provenance names no model with its weights"
    metric = facts.get("metric") if isinstance(facts, dict) else None
    if metric is not None and not _is_metric(metric):
        yield "its metric is not a name, a unit and a direction"
    if not isinstance(attributes.get("skipped"), list):
        yield "it has no list of skipped images"


def _are_texts(values: Sequence[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _is_metric(metric: object) -> bool:
    return (
        isinstance(metric, dict)
        and _are_texts([metric.get("name"), metric.get("unit")])
        and isinstance(metric.get("lower_is_better"), bool)
    )


def _outcome_arrays(attributes: dict[str, Any]) -> dict[str, ArrayLayout]:
    measures = len(MEASURES) if attributes["provenance"].get("metric") is None else 1
    interventions = len(attributes["interventions"])
    return {
        "place": ArrayLayout(("image",), (), "<i8", "images"),
        "clean": ArrayLayout(("image", "measure"), (measures,), "<f[48]", "images"),
        "changed": ArrayLayout(("image", "intervention", "measure"), (interventions, measures), "<f[48]", "images"),
    }


def _read(part: Path, arrays: Mapping[str, ArrayLayout], *, whole: bool) -> xr.Dataset:
    """Read a group; all its arrays are checked before any is decoded."""
    found = {path.parent.name for path in part.glob("*/.zarray")}
    if found != set(arrays):
        raise ValueError(f"{part.name} has the arrays {sorted(found)}; expected {sorted(arrays)}")
    lengths = {check_array(part / name, layout, whole=whole) for name, layout in arrays.items()}
    if len(lengths) > 1:
        raise ValueError(f"the arrays of {part.name} have the lengths {sorted(lengths)}; expected one length")
    read: xr.Dataset = xr.open_zarr(part, consolidated=False, chunks=None, decode_cf=False).load()
    return read


class AblationWriter:
    """Writes outcomes as they come, and marks them complete if its `with` block ends without an exception."""

    def __init__(
        self,
        path: Path,
        interventions: Sequence[SiteGroup],
        replacement: str,
        selection: Selection,
        provenance: dict[str, Any],
    ) -> None:
        self._path = path
        rows = [[item.name, item.scope, ",".join(item.site_names), replacement] for item in interventions]
        self._attributes = {"schema": SCHEMA, "provenance": provenance, "interventions": rows}
        self._samples = [entry.sample for entry in selection.entries]
        self._waiting: list[BatchOutcomes] = []
        self._skipped: list[dict[str, str]] = []
        self._parts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_error: object) -> None:
        self._flush()
        if self._parts:
            group = zarr.open_group(self._path, mode="r+", zarr_format=ZARR_FORMAT, use_consolidated=False)
            group.attrs.update(self._facts(COMPLETE if kind is None else INCOMPLETE))

    def add(self, measured: BatchOutcomes) -> None:
        """Add a batch."""
        self._waiting.append(measured)
        self._skipped += measured.skipped
        if sum(len(item.places) for item in self._waiting) >= IMAGES_AT_ONCE:
            self._flush()

    def _facts(self, status: str) -> dict[str, Any]:
        return {**self._attributes, "status": status, "skipped": self._skipped}

    def _start(self) -> None:
        zarr.open_group(self._path, mode="w-", zarr_format=ZARR_FORMAT, attributes=self._facts(INCOMPLETE))
        classes = [sample.image_class for sample in self._samples]
        indices = [-1 if item.index is None else item.index for item in classes]
        columns = {
            "path": ("image", strings([sample.path for sample in self._samples])),
            "class": ("image", strings([item.name for item in classes])),
            "class_index": ("image", np.array(indices, dtype=np.int64)),
            "wnid": ("image", strings([item.wnid or "" for item in classes])),
        }
        _write(xr.Dataset(columns), self._path / IMAGES)

    def _flush(self) -> None:
        waiting, self._waiting = [item for item in self._waiting if item.places], []
        if not waiting:
            return
        if not self._parts:
            self._start()
        changed = np.concatenate([item.changed for item in waiting], axis=2)
        part = xr.Dataset(
            {
                "place": ("image", np.concatenate([np.array(item.places, dtype=np.int64) for item in waiting])),
                "clean": (("image", "measure"), np.concatenate([item.clean for item in waiting], axis=1).T),
                "changed": (("image", "intervention", "measure"), changed.transpose(2, 0, 1)),
            }
        )
        folder = self._path / OUTCOMES
        temporary = folder / f".{self._parts:06d}"
        _write(part, temporary)
        temporary.rename(folder / f"{self._parts:06d}")
        self._parts += 1


def _write(data: xr.Dataset, path: Path) -> None:
    """Write arrays with all their chunks of whole rows; by default zarr leaves out chunks of a single value."""
    encoding = {name: {"chunks": array.shape} for name, array in data.items()}
    with zarr.config.set({"array.write_empty_chunks": True}):
        data.to_zarr(path, zarr_format=ZARR_FORMAT, consolidated=False, encoding=encoding)
