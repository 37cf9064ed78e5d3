"""Collect how a recording is made, so that it can be reproduced."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

from se_probe.images import Selection
from se_probe.images.listing import readable
from se_probe.models import LoadedModel

LIBRARIES = ("se-probe", "torch", "torchvision", "timm", "numpy", "pillow", "xarray", "zarr")


def provenance_of(
    model: LoadedModel,
    selection: Selection,
    *,
    command: str,
    settings: Mapping[str, Any],
    spatial_maps: Mapping[str, int],
    demo: bool,
) -> dict[str, Any]:
    """Return the facts about its making that a recording keeps, as JSON-able values.

    Args:
        model: the network.
        selection: the images.
        command: the command line or call.
        settings: other settings: device, batch size, workers ...
        spatial_maps: number of maps of each module that multiplies by spatial maps, which are not recorded.
        demo: whether network or images are the bundled demo's.
    """
    images = selection.images
    return {
        "command": readable(command),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "demo": demo,
        "model": {
            "name": model.name,
            "source": model.source,
            "weights": model.weights,
            "weights_sha256": model.weights_sha256,
            "preprocessing": dict(model.preprocessing),
            "labels": model.labels.title if model.labels else None,
        },
        "data": {
            "title": images.title,
            "location": images.location,
            "layout": images.layout,
            "images_found": len(images.samples),
            "files_ignored": images.ignored,
            "rule": selection.rule,
            "per_class": selection.per_class,
            "reference_per_class": selection.reference_per_class,
            "seed": selection.seed,
            "images_selected": len(selection.entries),
            "selection_sha256": selection_digest(selection),
        },
        "settings": dict(settings),
        "spatial_maps": dict(spatial_maps),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        },
    }


def selection_digest(selection: Selection) -> str:
    """Return the SHA-256 of which images are selected, in order: paths, classes and roles."""
    digest = hashlib.sha256()
    for entry in selection.entries:
        text = f"{entry.sample.path}\0{entry.sample.image_class.name}\0{entry.role}\0"
        digest.update(text.encode("utf-8", "surrogatepass"))  # Names of files may hold any bytes.
    return digest.hexdigest()
