"""What interventions did to the predictions, on disk and back: `ablation.zarr` beside a run's recording.

    /               attributes: schema, status, provenance, interventions, skipped
    /images         path, class, class_index, wnid of every selected image; class_index −1 and wnid "" where unknown
    /outcomes/000000 ...
                    place (image: row of /images), clean (image, measure), changed (image, intervention, measure)

Parts of the outcomes are written under a temporary name and then renamed: a run that is stopped or killed leaves
whole parts, and the status "incomplete".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr
import zarr

from se_probe.ablation.measure import BatchOutcomes
from se_probe.ablation.outcomes import MEASURES
from se_probe.ablation.planning import SiteGroup
from se_probe.errors import SeProbeError
from se_probe.images import Selection
from se_probe.recording.layout import ZARR_FORMAT
from se_probe.recording.shards import strings

STORE_NAME = "ablation.zarr"
SCHEMA = 1
INCOMPLETE, COMPLETE = "incomplete", "complete"
_IMAGES, _OUTCOMES = "images", "outcomes"
_IMAGES_AT_ONCE = 1024


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
        which `nll` is NaN and `top1` and `top5` are False.
        """
        changed = self._outcomes["changed"].transpose("intervention", "measure", "image").values
        clean = self._outcomes["clean"].transpose("measure", "image").values
        row = {name: number for number, name in enumerate(MEASURES)}
        flags = {name: (("intervention", "image"), changed[:, row[name]] == 1) for name in ("top1", "top5", "agree")}
        numbers = {name: (("intervention", "image"), changed[:, row[name]]) for name in ("nll", "kl")}
        untouched = {f"clean_{name}": ("image", clean[row[name]] == 1) for name in ("top1", "top5")}
        labelled = ("image", ~np.isnan(clean[row["nll"]]))
        return xr.Dataset(
            {**flags, **numbers, **untouched, "clean_nll": ("image", clean[row["nll"]]), "labelled": labelled},
            coords={"intervention": self.interventions["name"].to_numpy(), "class": ("image", self.images["class"])},
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
        SeProbeError: there is none at `path`, or a later version of se-probe wrote it.
    """
    store = Path(path)
    store = store / STORE_NAME if (store / STORE_NAME).is_dir() else store
    try:
        attributes: dict[str, Any] = zarr.open_group(store, mode="r", use_consolidated=False).attrs.asdict()
    except (OSError, ValueError):
        attributes = {}
    if "interventions" not in attributes:
        raise SeProbeError(
            f"{path} holds no interventions; expected the folder of a run of se-probe ablate, or its {STORE_NAME}."
        )
    if attributes["schema"] > SCHEMA:
        raise SeProbeError(
            f"{path} has schema {attributes['schema']} of interventions; this version of se-probe reads up to "
            f"{SCHEMA}, use a later one."
        )
    images, *parts = [
        xr.open_zarr(part, consolidated=False, chunks=None).load()
        for part in (store / _IMAGES, *sorted((store / _OUTCOMES).glob("[0-9]*")))
    ]
    return Ablation(store, attributes, images, xr.concat(parts, "image"))


class AblationWriter:
    """Writes outcomes as they come; marks them as complete where the `with` block ends without an exception.

    Args:
        path: where nothing may be yet.
        interventions: what is measured.
        replacement: what gates are replaced with.
        selection: the images.
        provenance: facts kept with the outcomes.
    """

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
        self._held: list[BatchOutcomes] = []
        self._skipped: list[dict[str, str]] = []
        self._parts = 0

    def __enter__(self) -> Self:
        return self

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
        xr.Dataset(columns).to_zarr(self._path / _IMAGES, zarr_format=ZARR_FORMAT, consolidated=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()
        if not self._parts:
            return
        group = zarr.open_group(self._path, mode="r+", zarr_format=ZARR_FORMAT, use_consolidated=False)
        group.attrs.update(self._facts(COMPLETE if kind is None else INCOMPLETE))

    def add(self, measured: BatchOutcomes) -> None:
        """Take in a batch."""
        self._held.append(measured)
        self._skipped += measured.skipped
        if sum(len(item.places) for item in self._held) >= _IMAGES_AT_ONCE:
            self._flush()

    def _facts(self, status: str) -> dict[str, Any]:
        return {**self._attributes, "status": status, "skipped": self._skipped}

    def _flush(self) -> None:
        held, self._held = [item for item in self._held if item.places], []
        if not held:
            return
        if not self._parts:
            self._start()
        changed = np.concatenate([item.changed for item in held], axis=2)
        part = xr.Dataset(
            {
                "place": ("image", np.concatenate([np.array(item.places, dtype=np.int64) for item in held])),
                "clean": (("image", "measure"), np.concatenate([item.clean for item in held], axis=1).T),
                "changed": (("image", "intervention", "measure"), changed.transpose(2, 0, 1)),
            }
        )
        folder = self._path / _OUTCOMES
        temporary = folder / f".{self._parts:06d}"
        part.to_zarr(temporary, zarr_format=ZARR_FORMAT, consolidated=False)
        temporary.rename(folder / f"{self._parts:06d}")
        self._parts += 1
