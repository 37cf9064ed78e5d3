"""A recording as read back: gates and moments as labelled arrays, images and provenance."""

from __future__ import annotations

import html
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from se_probe.errors import SeProbeError
from se_probe.gates import GateSite
from se_probe.io.files import is_url, reading
from se_probe.recording.guard import COMPLETE, root_attributes
from se_probe.recording.header import header_of
from se_probe.recording.layout import IMAGE_COLUMNS, check_arrays, names_of_moments
from se_probe.recording.remote import copy_down
from se_probe.recording.run_folder import RECORDING, recording_at
from se_probe.recording.store import read_incomplete

Labelled = TypeVar("Labelled", xr.DataArray, xr.Dataset)


def open_recording(path: str | Path) -> Recording:
    """Open a recording for reading.

    Args:
        path: a run's folder or the `recording.zarr` in it, or an fsspec URL of one (`s3://...`), which is copied into a
            temporary folder first.

    Returns:
        The recording. Gates and moments are read from disk on access; those of an incomplete recording are assembled
        in memory at once.

    Raises:
        SeProbeError: there is no recording at `path`, no image was recorded yet, a later version of se-probe wrote
            it, or it is damaged. Checksums are compared by `verify` only.
    """
    store = recording_at(copy_down(str(path), RECORDING) if is_url(path) else Path(path))
    attributes = root_attributes(store)
    header = header_of(attributes)
    if attributes["status"] != COMPLETE:
        with reading(store):
            return Recording(store, read_incomplete(store, header))
    check_arrays(store, header)
    # Neither consolidated metadata nor netCDF conventions are applied, because either could change values.
    options: dict[str, Any] = {"engine": "zarr", "consolidated": False, "chunks": None, "decode_cf": False}
    with reading(store), warnings.catch_warnings():
        # Shards are left where a run was killed just before their removal.
        warnings.filterwarnings("ignore", message="Object at .* is not recognized")
        return Recording(store, xr.open_datatree(store, **options))


class Recording:
    """Gates of a network over labelled images, with their class-conditional moments and provenance.

    Attributes:
        path: the zarr store.
        tree: the recording as an xarray DataTree; `se_probe.recording.store` describes its nodes.
        signal: what `gates` and `moments` return: "gate", or another captured signal after `of`.
    """

    def __init__(self, path: Path, tree: xr.DataTree, signal: str = "gate") -> None:
        self.path = path
        self.tree = tree
        self.signal = signal
        self._facts = header_of({str(key): value for key, value in tree.attrs.items()})

    @property
    def complete(self) -> bool:
        """Whether the run was finished; otherwise the recording holds the images up to the stop."""
        return bool(self.tree.attrs["status"] == COMPLETE)

    @property
    def sites(self) -> list[GateSite]:
        """The sites that have the signal, in network order."""
        having = {block.site for block in self._facts.signals if block.signal == self.signal}
        return [site for site in self._facts.sites if site.name in having]

    @property
    def signals(self) -> list[str]:
        """The captured signals: "gate", "logit", "squeeze", "feature_before" and so on."""
        return list(dict.fromkeys(block.signal for block in self._facts.signals))

    def of(self, signal: str) -> Recording:
        """Return the recording with another signal in place of the gates, so that any analysis applies to it.

        Raises:
            SeProbeError: that signal was not captured.
        """
        if signal not in self.signals:
            raise SeProbeError(
                f"{self.path} holds no {signal!r}, but {', '.join(self.signals)}; record again with --capture."
            )
        return Recording(self.path, self.tree, signal)

    @property
    def chosen(self) -> list[str]:
        """Names of the chosen classes, in the order given."""
        return list(self._facts.chosen)

    @property
    def provenance(self) -> dict[str, Any]:
        """How the recording was made: model, data, preprocessing, seed, versions, command."""
        return self._facts.provenance

    @property
    def effects(self) -> dict[str, Any]:
        """How effects were recorded (see `se_probe.recording.effects`); empty where they were not."""
        return self._facts.effects

    @property
    def demo(self) -> bool:
        """Whether network or images are the bundled demo's."""
        return bool(self.provenance.get("demo", False))

    @cached_property
    def classes(self) -> pd.DataFrame:
        """The classes with images, one row each: name, index (output unit), wnid and number of images."""
        table = pd.DataFrame(list(self._facts.classes), columns=["name", "index", "wnid"])
        with reading(self.path):
            counts = self.tree["moments"].to_dataset()["count"].to_series()
        table = table[table["name"].isin(counts.index)].reset_index(drop=True)
        return table.assign(index=table["index"].astype("Int64"), images=counts.reindex(table["name"]).to_numpy())

    @cached_property
    def images(self) -> pd.DataFrame:
        """The images recorded, one row each.

        Columns: `path`; `class`, `class_index`, `wnid`; `role` ("chosen": its gates are kept, "reference": it is in the
        moments only); `predicted`, `predicted_index` and `probability` of the predicted class; `class_probability` of
        the image's own class. Unknown values are missing.
        """
        stored = self.tree["images"].to_dataset()
        with reading(self.path):
            table = pd.DataFrame({name: stored[name].values for name in IMAGE_COLUMNS})
        for name in ("class_index", "predicted_index"):
            table[name] = table[name].astype("Int64").where(table[name] >= 0)
        for name in ("wnid", "predicted"):
            table[name] = table[name].where(table[name] != "")
        return table.rename_axis("image")

    @property
    def skipped(self) -> pd.DataFrame:
        """The skipped images, one row each: path, class and reason (undecodable, NaN in the gates of ...)."""
        return pd.DataFrame(self.tree.attrs["skipped"], columns=["path", "class", "reason"])

    def site(self, name: str) -> GateSite:
        """Return the site with that name.

        Raises:
            SeProbeError: there is none.
        """
        sites = {site.name: site for site in self.sites}
        if name not in sites:
            raise SeProbeError(f"{self.path} has no site {name!r}; expected one of {_listed(self.sites)}.")
        return sites[name]

    def gates(self, site: str) -> xr.DataArray:
        """Return the gates of the chosen classes' images at a site.

        Returns:
            `(image, channel)` or `(image, branch, channel)`, in the network's precision (float32 at least).
            The coordinate `image` is the row in `images`, `class` its class.

        Raises:
            SeProbeError: the recording has no such site, or is damaged.
        """
        self.site(site)
        with reading(self.path):
            gate = self.tree[f"gates/{site}"].to_dataset()[self.signal].rename(site).load()
            classes = self.images["class"].to_numpy(dtype=np.str_)[gate["image"].values]
        return _with_places(gate).assign_coords({"class": ("image", classes)})

    def moments(self, site: str) -> xr.Dataset:
        """Return the class-conditional moments at a site, over all images of each class.

        Returns:
            `count` (class), `mean` and `m2`, the sum of squared deviations from the mean (class, [branch,]
            channel), in float64; the unbiased variance is `m2 / (count - 1)`.

        Raises:
            SeProbeError: the recording has no such site, or is damaged.
        """
        self.site(site)
        mean, m2 = names_of_moments(self.signal)
        with reading(self.path):
            moments = self.tree[f"moments/{site}"].to_dataset()[[mean, m2]].rename({mean: "mean", m2: "m2"}).load()
            count = self.tree["moments"].to_dataset()["count"].load()
        return _with_places(moments.assign(count=count)[["count", "mean", "m2"]])

    def __repr__(self) -> str:
        lines = [f"  {key + ':':<9} {value}" for key, value in self._summary()]
        return "\n".join([f"<se_probe.Recording {self.path}>", *lines])

    def _repr_html_(self) -> str:
        """Show the recording in a notebook: what was run, and its sites."""
        facts = pd.DataFrame(self._summary()).to_html(escape=True, header=False, index=False, border=0, justify="left")
        sites = pd.DataFrame([site.to_dict() for site in self.sites]).set_index("name").to_html(escape=True)
        return (
            f"<div><strong>Recording</strong> <code>{html.escape(str(self.path))}</code>{facts}"
            f"<details><summary>{len(self.sites)} sites</summary>{sites}</details></div>"
        )

    def _summary(self) -> list[tuple[str, str]]:
        model = self.provenance["model"]
        roles = self.images["role"].value_counts()
        facts = [
            ("model", f"{model['name']}, {model['weights']}"),
            ("sites", f"{len(self.sites)}: {_listed(self.sites)}"),
            ("chosen", f"{', '.join(self.chosen)} ({roles.get('chosen', 0)} images)"),
            ("moments", f"of {len(self.classes)} classes ({len(self.images)} images)"),
            ("data", f"{self.provenance['data']['title']}, {self.provenance['data']['layout']}"),
            ("status", "complete" if self.complete else "INCOMPLETE: the run was stopped before its end"),
        ]
        if self.signals != ["gate"]:
            facts.append(("signals", f"{', '.join(self.signals)}; shown here: {self.signal}"))
        if len(self.skipped):
            facts.append(("skipped", f"{len(self.skipped)} images that were left out"))
        if self.demo:
            facts.append(("demo", "yes: drawn stimuli or a demo network, no finding about photographs"))
        return facts


def _listed(sites: Sequence[GateSite]) -> str:
    names = [site.name for site in sites]
    return ", ".join(names if len(names) <= 8 else [*names[:4], "…", *names[-3:]])


def _with_places(data: Labelled) -> Labelled:
    return data.assign_coords({dim: np.arange(data.sizes[dim]) for dim in ("branch", "channel") if dim in data.dims})
