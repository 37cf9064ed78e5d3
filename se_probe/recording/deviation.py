"""Compare the gates of two ways to run a network on a few of the selected images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from se_probe.images import DeviceDecoder, Selection, batches
from se_probe.models import LoadedModel
from se_probe.recording.forward import Signals

# Allowed difference of recorded values from those of the plain network, relative to values above 1.
TOLERANCE = 1e-5
# Accepted on the trial images, which leaves a margin for all others.
ACCEPTED = TOLERANCE / 2


def deviation(expected: Signals, found: Signals) -> float:
    """Return the largest difference between signals, relative to the largest value where that exceeds 1.

    A value that is NaN in only one of them counts as an infinite difference.
    """
    return max((_deviation(values, found[key]) for key, values in expected.items()), default=0.0)


def _deviation(expected: torch.Tensor, found: torch.Tensor) -> float:
    if expected.numel() == 0:
        return 0.0
    expected, found = expected.cpu().double(), found.cpu().double()
    same = (expected == found) | (expected.isnan() & found.isnan())
    gaps = torch.where(same, 0.0, (found - expected).abs()).nan_to_num(nan=torch.inf)
    finite = expected[expected.isfinite()].abs()
    scale = max(1.0, float(finite.max())) if finite.numel() else 1.0
    return float(gaps.max()) / scale


def class_mean_deviation(expected: Signals, found: Signals, classes: Sequence[str]) -> dict[str, Any]:
    """Return the largest and rms differences of class means and the largest of a single gate, in gate units.

    Args:
        expected: signals of some images.
        found: signals of the same images.
        classes: class of each image.
    """
    names = list(dict.fromkeys(classes))
    members = torch.tensor([[name == other for other in classes] for name in names], dtype=torch.float64)
    weights = members / members.sum(1, keepdim=True)
    gaps = [
        (found[key].cpu().double() - values.cpu().double()).flatten(1)
        for key, values in expected.items()
        if key[0] == "gate"
    ]
    single = torch.cat(gaps, dim=1)
    means = weights @ single
    return {
        "class_mean_largest": float(means.abs().max()),
        "class_mean_rms": float(means.square().mean().sqrt()),
        "gate_largest": float(single.abs().max()),
        "images": len(classes),
        "classes": len(names),
    }


@dataclass(frozen=True)
class TrialImages:
    """Images `(n, 3, H, W)` on the host, the class of each, and the same images decoded on a device."""

    images: torch.Tensor
    classes: Sequence[str]
    decoded: torch.Tensor | None = None


def trial_images(
    model: LoadedModel, selection: Selection, count: int, decoder: DeviceDecoder | None = None
) -> TrialImages:
    """Return images on which two ways to run a network are compared; one of noise where none is wanted or decodable.

    Args:
        model: the network.
        selection: the images of the run.
        count: number of images, spread evenly over the chosen classes where there are any; of a stream the first.
        decoder: decodes them on a device too.
    """
    noise = TrialImages(torch.randn(1, *model.input_size, generator=torch.Generator().manual_seed(0)), [""])
    if not count:
        return noise
    entries = selection.entries
    places = [place for place, entry in enumerate(entries) if entry.role == "chosen"] or list(range(len(entries)))
    places.sort(key=lambda place: entries[place].position)
    if selection.images.streamed:
        places = places[:count]
    elif len(places) > count:
        places = [places[index * len(places) // count] for index in range(count)]
    load = partial(batches, selection, model.transform, batch_size=count, workers=0, places=places)
    batch = next(load())
    if not batch.indices:
        return noise
    classes = [entries[place].sample.image_class.name for place in batch.indices]
    if decoder is None:
        return TrialImages(batch.images, classes)
    decoded = next(load(decoder=decoder))
    return TrialImages(batch.images, classes, decoded.images if decoded.indices == batch.indices else None)
