"""Look at images of one's own: what the network answers, which gates are unusual, what they do, where they look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from se_probe.analysis.gates import site_moments
from se_probe.analysis.unusual import UnusualGates, unusual_gates
from se_probe.analysis.words import word_tables
from se_probe.errors import SeProbeError
from se_probe.gates import GateEffects, GateMapper, GateSite, gate_effects
from se_probe.images.decode import UndecodableImageError, decode_rgb
from se_probe.io.log import tell
from se_probe.io.progress import status
from se_probe.labels import LabelSpace
from se_probe.models import LoadedModel
from se_probe.recording import Recording, open_recording
from se_probe.runs.joining import recorded_network, require_same
from se_probe.runs.machine import device_of, require_one_process
from se_probe.runs.plan import load_network
from se_probe.runs.settings import LookSettings
from se_probe.runs.verb import verb

ANSWERS = 3
"""Classes shown of each image."""
PLACES = (("upper left", "upper middle", "upper right"), ("left", "middle", "right"), ("lower left", "lower middle", "lower right"))


@dataclass(frozen=True)
class Look:
    """What a network's gates do on some images.

    Attributes:
        images: their paths.
        pixels: `(image, 3, height, width)`, the network's input.
        answers: one row an image and answer, the most likely first: `image`, `class`, `probability`.
        gates: one row an image and gate, the most notable first: `image`, `site`, `branch`, `channel`, `gate`,
            `effect` (the change of the predicted class's logit, to first order, if the gate were `reference`),
            `reference` (the mean over classes of the run; without one 1, or 1/M of M competing branches); against a
            run also `mean`, `sd`, `deviation` (see `analysis.unusual`) and `word`.
        unusual: the comparison with the run, None without one.
        maps: `(site, channel)` → `(image, height, width)`, what each position adds to the gate's logit, for the gates
            that are shown and have maps.
    """

    images: list[str]
    pixels: torch.Tensor = field(repr=False)
    answers: pd.DataFrame = field(repr=False)
    gates: pd.DataFrame = field(repr=False)
    unusual: UnusualGates | None = field(repr=False)
    maps: Mapping[tuple[str, int], torch.Tensor] = field(repr=False)
