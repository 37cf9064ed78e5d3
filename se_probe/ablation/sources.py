"""Replacement gates from the means of a recording or from other images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from se_probe.errors import SeProbeError
from se_probe.gates import Constant, GateRecorder, GateSite, PerLabel
from se_probe.images import Selection, batches
from se_probe.labels import ImageClass
from se_probe.models import LoadedModel
from se_probe.recording import Recording


def mean_gates(recording: Recording) -> dict[str, Constant]:
    """Return each site's mean gate as a replacement (see `mean_of_class_means`)."""
    return {name: Constant(values) for name, values in mean_of_class_means(recording).items()}


def mean_of_class_means(recording: Recording) -> dict[str, NDArray[np.float64]]:
    """Return each site's mean gate, `(channel,)` or `(branch, channel)`: the mean of the class means.

    Every class weighs the same, as in the curve "all" of the SENet paper's figures.
    """
    return {site.name: _class_means(recording, site).mean(axis=0) for site in recording.sites}


def class_mean_gates(recording: Recording) -> dict[str, PerLabel]:
    """Return each site's mean gate of every class; labels are class names.

    Every image gets the mean gates of its true class, which a network in use does not know. The outcome is therefore
    no bound on what the network does by itself.
    """
    classes = recording.classes["name"].tolist()
    return {site.name: PerLabel(_class_means(recording, site), classes) for site in recording.sites}


def _class_means(recording: Recording, site: GateSite) -> NDArray[np.float64]:
    means: NDArray[np.float64] = recording.moments(site.name)["mean"].to_numpy()
    return means


def gather_gates(
    model: LoadedModel,
    sites: Sequence[GateSite],
    selection: Selection,
    *,
    batch_size: int,
    workers: int,
    progress: Callable[[int], None] = lambda images: None,
) -> tuple[list[int], dict[str, NDArray[np.floating]]]:
    """Return the gates of all selected images that decode, in memory.

    Returns:
        The images' places in the selection, and site → `(image, channel)` or `(image, branch, channel)`.
    """
    places: list[int] = []
    rows: dict[str, list[NDArray[np.floating]]] = {site.name: [] for site in sites}
    reference = next(model.network.parameters())
    with GateRecorder(model.network, sites) as recorder, torch.inference_mode():
        for batch in batches(selection, model.transform, batch_size=batch_size, workers=workers):
            if batch.indices:
                model.network(batch.images.to(reference.device, reference.dtype, non_blocking=True))
                for name, values in recorder.gates.items():
                    rows[name].append(values.float().cpu().numpy())
            places += batch.indices
            progress(len(batch.indices) + len(batch.skipped))
    return places, {name: np.concatenate(parts) for name, parts in rows.items() if parts}


def shuffled(places: Sequence[int], seed: int) -> dict[int, int]:
    """Return a donor for each image: all images in one random cycle, so that none is its own donor."""
    order = np.random.default_rng(seed).permutation(np.asarray(places))
    return dict(zip(order.tolist(), np.roll(order, -1).tolist(), strict=True))


def swapped(classes: Mapping[int, ImageClass], pair: tuple[ImageClass, ImageClass], seed: int) -> dict[int, int]:
    """Return for each image of two classes a donor of the other class, taken in turn from a random order."""
    members = [[place for place, item in classes.items() if item == image_class] for image_class in pair]
    for image_class, found in zip(pair, members, strict=True):
        if not found:
            raise SeProbeError(f"no image of {image_class.describe()} could be decoded; choose another class to swap.")
    return dict(_drawn(members[0], members[1], seed)) | dict(_drawn(members[1], members[0], seed + 1))


def _drawn(receivers: Sequence[int], donors: Sequence[int], seed: int) -> Iterator[tuple[int, int]]:
    order = np.random.default_rng(seed).permutation(np.asarray(donors)).tolist()
    for turn, receiver in enumerate(receivers):
        yield receiver, order[turn % len(order)]


def donated(
    gates: Mapping[str, NDArray[np.floating]], places: Sequence[int], donors: Mapping[int, int]
) -> dict[str, PerLabel]:
    """Return replacements that give each image its donor's gates; labels are places in the selection."""
    row = {place: number for number, place in enumerate(places)}
    rows = [row[donor] for donor in donors.values()]
    labels = [str(receiver) for receiver in donors]
    return {site: PerLabel(values[rows], labels) for site, values in gates.items()}
