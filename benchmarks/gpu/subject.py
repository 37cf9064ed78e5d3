"""Networks and recordings that the checks look at; the one module here that knows how a recording is made."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

import se_probe
from benchmarks.gpu.bench import Bench
from se_probe.gates import GateSite
from se_probe.images.decode import decode_rgb
from se_probe.images.imageset import ImageSet, Sample, open_bytes
from se_probe.images.selection import Selection
from se_probe.labels import imagenet
from se_probe.models import LoadedModel, load_model
from se_probe.recording import Execution, Recording, provenance_of

NETWORKS = ("legacy_seresnet50", "skresnext50_32x4d", "resnest50d")
DEMO = ("demo:se", "demo:sk", "demo:sa")
_numbers = itertools.count()


@dataclass(frozen=True)
class Encoded:
    """A source of images: encoded ones in memory, repeated as often as needed."""

    blobs: Sequence[bytes]

    def fingerprint(self, path: str) -> None:
        """Return None: these images are the same in every run."""

    def open(self, path: str) -> Image.Image:
        """Return the image, undecoded."""
        return open_bytes(self.blobs[int(path) % len(self.blobs)])


def decoded(data: bytes) -> Image.Image:
    """Return an encoded image as a recording decodes it, by Pillow."""
    return decode_rgb(lambda: open_bytes(data))


def model_named(name: str) -> LoadedModel:
    """Return a bundled network with its weights, or one of timm's with random weights; nothing is downloaded."""
    return load_model(name, random_weights=not name.startswith("demo:"))


def selection_of(model: LoadedModel, blobs: Sequence[bytes], count: int) -> Selection:
    """Return `count` images of ten classes, all of which keep their gates."""
    space = model.labels or imagenet()
    classes = space.classes[: min(10, count)]
    samples = tuple(Sample(f"{index:07d}", classes[index * len(classes) // count]) for index in range(count))
    images = ImageSet("encoded images", samples, space, "in memory", 0, Encoded(blobs))
    return se_probe.select(images, classes, per_class=count, reference_per_class=0)


def recorded(
    bench: Bench,
    model: LoadedModel,
    count: int,
    *,
    execution: Execution,
    batch_size: int,
    workers: int = 0,
    progress: Callable[[int], None] = lambda images: None,
    say: Callable[[str], None] = lambda line: None,
) -> Recording:
    """Record `count` images of the bench on its device."""
    selection = selection_of(model, bench.photographs, count)
    facts: dict[str, Any] = {"command": "benchmark", "settings": {}, "spatial_maps": {}, "demo": True}
    return se_probe.record(
        model,
        se_probe.find_gates(model.network, model.input_size),
        selection,
        bench.folder / f"{next(_numbers)}.zarr",
        provenance=provenance_of(model, selection, **facts),
        batch_size=batch_size,
        workers=workers,
        device=bench.device,
        execution=execution,
        progress=progress,
        say=say,
    )


def recorded_gates(recording: Recording) -> NDArray[np.float64]:
    """Return all gates of a recording, `(image, column)`."""
    sites = [np.asarray(recording.gates(site.name).values, dtype=np.float64) for site in recording.sites]
    return np.concatenate([gates.reshape(len(gates), -1) for gates in sites], axis=1)


def gates_of(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return all gates of a network for images on its device, `(image, column)`, in float64 on the host."""
    sites = se_probe.find_gates(network, tuple(images.shape[1:]))
    with torch.inference_mode(), se_probe.GateRecorder(network, sites) as recorder:
        network(images)
        return torch.cat([gates.flatten(1).double().cpu() for gates in recorder.gates.values()], dim=1)


def output_modules(sites: Sequence[GateSite]) -> dict[str, str]:
    """Return site name → module, for the sites whose gate is the output of a module."""
    points = {site: site.hook_point for site in sites}
    return {site.name: point.module for site, point in points.items() if point and point.module != site.module}


class AfterSetUp:
    """A progress callback that calls `begin` once, when the first batch of a recording is done.

    What comes before that batch (the comparison of faster copies, the choice of a batch size) may wait for the device.
    """

    def __init__(self, begin: Callable[[], object]) -> None:
        self._begin = begin
        self.begun = False

    def __call__(self, images: int) -> None:
        """Count a batch."""
        if images and not self.begun:
            self.begun = True
            self._begin()
