"""What interventions did to the predictions, read from `ablation.zarr` beside a run's recording.

    /               attributes: schema, status, provenance, interventions, skipped
    /images         path, class, class_index, wnid of every selected image; class_index −1 and wnid "" where unknown
    /outcomes/000000 ...
                    place (image: row of /images), clean (image, measure), changed (image, intervention, measure);
                    a measure of one's own, which the provenance describes, is the only one

Parts of the outcomes are written under a temporary name and then renamed: a run that is stopped or killed leaves
whole parts, and the status "incomplete".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from se_probe.ablation.outcomes import MEASURES
from se_probe.errors import SeProbeError
from se_probe.io.files import reading, require_plain_files
from se_probe.recording.guard import ROOT_ATTRIBUTES, read_json
from se_probe.recording.layout import ArrayLayout, check_array
from se_probe.recording.run_folder import ABLATION

SCHEMA = 3
# The first schema whose arrays have all their chunks on disk, each with whole rows.
_WHOLE_ROWS = 2
INCOMPLETE, COMPLETE = "incomplete", "complete"
IMAGES, OUTCOMES = "images", "outcomes"
_TEXT = ArrayLayout(("image",), (), r"<U[1-9]\d*", "images")
_IMAGE_ARRAYS = {
    "path": _TEXT,
    "class": _TEXT,
    "class_index": ArrayLayout(("image",), (), "<i8", "images"),
    "wnid": _TEXT,
}


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
        """What it was made of and with, as of a recording; `replacement` and `gates_from` say what replaced gates."""
        facts: dict[str, Any] = self._attributes["provenance"]
        return facts

    @property
    def metric(self) -> dict[str, Any] | None:
        """Name, unit and direction (`lower_is_better`) of a measure of one's own, None for those of a classifier."""
        facts: dict[str, Any] | None = self.provenance.get("metric")
        return facts

    @property
    def demo(self) -> bool:
        """Whether network or images are the bundled demo's."""
        return bool(self.provenance.get("demo", False))

    @property
    def complete(self) -> bool:
        """Whether the run came to its end; else the outcomes of the images up to where it was stopped are here."""
        return bool(self._attributes["status"] == COMPLETE)

    @cached_property
    def interventions(self) -> pd.DataFrame:
        """A row an intervention: name, scope ("site", "cumulative", "stage", "sites"), sites, replacement."""
        return pd.DataFrame(self._attributes["interventions"], columns=["name", "scope", "sites", "replacement"])

    @cached_property
    def images(self) -> pd.DataFrame:
        """A row an image measured: path, class, class_index (missing where the network has no such unit), wnid."""
        table = pd.DataFrame({name: self._images[name].values for name in ("path", "class", "class_index", "wnid")})
        table = table.iloc[self._outcomes["place"].values].reset_index(drop=True)
        table["class_index"] = table["class_index"].astype("Int64").where(table["class_index"] >= 0)
        table["wnid"] = table["wnid"].where(table["wnid"] != "")
        return table.rename_axis("image")

    @cached_property
    def outcomes(self) -> xr.Dataset:
        """The outcomes of every image under every intervention.

        `top1`, `top5`, `agree` (bool), `nll` and `kl` (nats): (intervention, image); `clean_top1`, `clean_top5`,
        `clean_nll`: (image); `labelled` (image): whether the network has a unit for the image's class, without
        which `nll` is NaN and `top1` and `top5` are False. With a measure of one's own `metric` (intervention, image),
        `clean_metric` (image), in its unit, and `labelled` (image), whether the image was measured, in their place.
        """
        changed = self._outcomes["changed"].transpose("intervention", "measure", "image").values
        clean = self._outcomes["clean"].transpose("measure", "image").values
        classes = self.images["class"].to_numpy(dtype=str)
        coords = {"intervention": self.interventions["name"].to_numpy(), "class": ("image", classes)}
        if self.metric is not None:
            own = {"metric": (("intervention", "image"), changed[:, 0]), "clean_metric": ("image", clean[0])}
            return xr.Dataset({**own, "labelled": ("image", ~np.isnan(clean[0]))}, coords=coords)
        row = {name: number for number, name in enumerate(MEASURES)}
        flags = {name: (("intervention", "image"), changed[:, row[name]] == 1) for name in ("top1", "top5", "agree")}
        numbers = {name: (("intervention", "image"), changed[:, row[name]]) for name in ("nll", "kl")}
        untouched = {f"clean_{name}": ("image", clean[row[name]] == 1) for name in ("top1", "top5")}
        labelled = ("image", ~np.isnan(clean[row["nll"]]))
        return xr.Dataset(
            {**flags, **numbers, **untouched, "clean_nll": ("image", clean[row["nll"]]), "labelled": labelled},
            coords=coords,
        )

    @property
    def skipped(self) -> pd.DataFrame:
        """The images that could not be decoded, a row each: path, class and reason."""
        return pd.DataFrame(self._attributes["skipped"], columns=["path", "class", "reason"])

    def __repr__(self) -> str:
        state = "" if self.complete else ", INCOMPLETE: the run was stopped before its end"
        return (
            f"<se_probe.Ablation {self.path}: {self.provenance['model']['name']}, {self.provenance['replacement']}, "
            f"{len(self.interventions)} interventions on {len(self.images)} images{state}>"
        )


def open_ablation(path: str | Path) -> Ablation:
    """Open what interventions did.

    Args:
        path: a run's folder or the `ablation.zarr` in it.

    Raises:
        SeProbeError: there is none at `path`, a later version of se-probe wrote it, or it is damaged.
    """
    store = Path(path)
    store = store / ABLATION if (store / ABLATION).is_dir() else store
    attributes = _attributes(store)
    with reading(store):
        images, *parts = [
            _read(part, layout, whole=attributes["schema"] >= _WHOLE_ROWS)
            for part, layout in (
                (store / IMAGES, _IMAGE_ARRAYS),
                *((part, _outcome_arrays(attributes)) for part in sorted((store / OUTCOMES).glob("[0-9]*"))),
            )
        ]
        if not parts:
            raise ValueError("it holds no outcomes")
        outcomes = xr.concat(parts, "image")
        places = outcomes["place"].values
        if places.size and not (places.min() >= 0 and places.max() < images.sizes["image"]):
            raise ValueError(f"it has outcomes of image {places.max()}, but {images.sizes['image']} images")
    return Ablation(store, attributes, images, outcomes)


def _attributes(store: Path) -> dict[str, Any]:
    """Return the attributes of a store of interventions, checked as those of a recording are.

    Raises:
        SeProbeError: it is no such store, a later version wrote it, it is damaged, or it holds something else than
            folders and regular files.
    """
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
    """Yield what the attributes have that was not written."""
    if type(attributes.get("schema")) is not int or attributes.get("status") not in (INCOMPLETE, COMPLETE):
        yield f"it has schema {attributes.get('schema')!r} and status {attributes.get('status')!r}"
    rows = attributes["interventions"]
    if not isinstance(rows, list) or not rows:
        yield "it has no list of interventions"
    elif not all(
        isinstance(row, list) and len(row) == 4 and all(isinstance(word, str) for word in row) for row in rows
    ):
        yield "an intervention is not four texts: name, scope, sites, replacement"
    facts = attributes.get("provenance")
    model = facts.get("model") if isinstance(facts, dict) else None
    if (
        not isinstance(model, dict)
        or not isinstance(model.get("name"), str)
        or not isinstance(model.get("weights"), str)
    ):
        yield "its provenance names no model with its weights"
    if isinstance(facts, dict) and not _is_metric(facts.get("metric")):
        yield "its metric is not a name, a unit and a direction"
    if not isinstance(attributes.get("skipped"), list):
        yield "it has no list of skipped images"


def _is_metric(metric: object) -> bool:
    """Return whether a value is what a run keeps of a measure of one's own, None where it had none."""
    return metric is None or (
        isinstance(metric, dict)
        and all(isinstance(metric.get(name), str) for name in ("name", "unit"))
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
    """Read a group whose arrays were checked before one of them is decoded."""
    found = {path.parent.name for path in part.glob("*/.zarray")}
    if found != set(arrays):
        raise ValueError(f"{part.name} has the arrays {sorted(found)}; expected {sorted(arrays)}")
    lengths = {check_array(part / name, layout, whole=whole) for name, layout in arrays.items()}
    if len(lengths) > 1:
        raise ValueError(f"the arrays of {part.name} have the lengths {sorted(lengths)}; expected one length")
    read: xr.Dataset = xr.open_zarr(part, consolidated=False, chunks=None, decode_cf=False).load()
    return read
