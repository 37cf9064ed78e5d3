"""Write what interventions did to the predictions, batch by batch; `results` describes the store and reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import xarray as xr
import zarr

from se_probe.ablation.measure import BatchOutcomes
from se_probe.ablation.planning import SiteGroup
from se_probe.ablation.results import COMPLETE, IMAGES, INCOMPLETE, OUTCOMES, SCHEMA
from se_probe.images import Selection
from se_probe.recording.layout import ZARR_FORMAT, strings

IMAGES_AT_ONCE = 1024


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
        _write(xr.Dataset(columns), self._path / IMAGES)

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
        if sum(len(item.places) for item in self._held) >= IMAGES_AT_ONCE:
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
        folder = self._path / OUTCOMES
        temporary = folder / f".{self._parts:06d}"
        _write(part, temporary)
        temporary.rename(folder / f"{self._parts:06d}")
        self._parts += 1


def _write(data: xr.Dataset, path: Path) -> None:
    """Write arrays with all their chunks, each of whole rows: a chunk of one value would be left out otherwise."""
    encoding = {name: {"chunks": array.shape} for name, array in data.items()}
    with zarr.config.set({"array.write_empty_chunks": True}):
        data.to_zarr(path, zarr_format=ZARR_FORMAT, consolidated=False, encoding=encoding)
