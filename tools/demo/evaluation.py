"""Measure a demo network on stimuli: which cues it needs for the class, and whether its gates are alive."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from se_probe.demo.stimuli import draw, draw_background
from se_probe.demo.subjects import SUBJECTS
from se_probe.gates import GateRecorder

Drawer = Callable[[str, int], Image.Image]

LIVE_GATE_SPREAD = 0.01
"""A gate is alive if its standard deviation over images is above this."""

_BATCH = 100


@dataclass(frozen=True)
class GateSpread:
    """How far the gates of one site move over images.

    Attributes:
        site: paper-style name, such as SE_2_1.
        mean: mean gate over images and channels.
        lowest, highest: the range that the gates take.
        spread: median over channels of the standard deviation over images.
        alive: share of the channels whose standard deviation is above `LIVE_GATE_SPREAD`.
    """

    site: str
    mean: float
    lowest: float
    highest: float
    spread: float
    alive: float


def stimulus_batch(instances: Iterable[int], drawer: Drawer = draw) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw these instances of every class: pixels (N, 3, side, side), uint8, and labels (N,)."""
    numbers = list(instances)
    pictures = [np.asarray(drawer(name, number)) for name in SUBJECTS for number in numbers]
    labels = torch.arange(len(SUBJECTS)).repeat_interleave(len(numbers))
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2), labels


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    """Return the network's input, channels last, from uint8 pixels, as the preprocessing in `pretrained_cfg`."""
    mean = torch.tensor(IMAGENET_DEFAULT_MEAN)[:, None, None]
    std = torch.tensor(IMAGENET_DEFAULT_STD)[:, None, None]
    return ((pixels / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def accuracy(network: torch.nn.Module, pixels: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the accuracy on pictures (uint8, from `stimulus_batch`)."""
    guesses = [network(normalised(batch)).argmax(1) for batch in pixels.split(_BATCH)]
    return float((torch.cat(guesses) == labels).double().mean())


def accuracy_by_condition(network: torch.nn.Module, instances: range) -> dict[str, float]:
    """Return the accuracy on these instances as drawn, in grey, with another class's colour, and without the object."""
    drawers: dict[str, Drawer] = {
        "as drawn": draw,
        "grey": _grey,
        "recoloured": _recoloured,
        "background only": draw_background,
    }
    return {name: accuracy(network, *stimulus_batch(instances, drawer)) for name, drawer in drawers.items()}


@torch.inference_mode()
def gate_spreads(network: torch.nn.Module, pixels: torch.Tensor) -> list[GateSpread]:
    """Measure how far the gates of each site move over these pictures (uint8), in network order."""
    batches: dict[str, list[torch.Tensor]] = defaultdict(list)
    with GateRecorder(network) as recorder:
        for batch in pixels.split(_BATCH):
            network(normalised(batch))
            for site, gates in recorder.gates.items():
                batches[site].append(gates.flatten(1).double())
    return [_spread(site, torch.cat(gates)) for site, gates in batches.items()]


def _spread(site: str, gates: torch.Tensor) -> GateSpread:
    deviations = gates.std(dim=0)
    return GateSpread(
        site=site,
        mean=float(gates.mean()),
        lowest=float(gates.min()),
        highest=float(gates.max()),
        spread=float(deviations.median()),
        alive=float((deviations > LIVE_GATE_SPREAD).double().mean()),
    )


def _grey(name: str, instance: int) -> Image.Image:
    return draw(name, instance).convert("L").convert("RGB")


def _recoloured(name: str, instance: int) -> Image.Image:
    rng = random.Random(f"recoloured/{name}/{instance}")
    other = rng.choice([subject for key, subject in SUBJECTS.items() if key != name])
    return draw(name, instance, colour=rng.choice(other.colours))
