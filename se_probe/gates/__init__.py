"""Gates: where a network multiplies channels by data-dependent factors, and their values for each image."""

from se_probe.gates.deployed import Quantize, QuantizeLogits, Tile
from se_probe.gates.discovery import Discovery, NoGatesError, SpatialMap, discover, find_gates, require_gates
from se_probe.gates.effects import GateEffects, exact_effects, gate_effects
from se_probe.gates.gradients import GateGradients
from se_probe.gates.intervention import (
    Branch,
    Constant,
    GateContext,
    Identity,
    Intervention,
    PerLabel,
    Replacement,
    Scale,
    Shuffle,
    intervene,
)
from se_probe.gates.maps import GateMap, GateMapper, gate_maps
from se_probe.gates.recorder import GateRecorder, signals_of
from se_probe.gates.site import GateSite

__all__ = [
    "Branch",
    "Constant",
    "Discovery",
    "GateContext",
    "GateEffects",
    "GateGradients",
    "GateMap",
    "GateMapper",
    "GateRecorder",
    "GateSite",
    "Identity",
    "Intervention",
    "NoGatesError",
    "PerLabel",
    "Quantize",
    "QuantizeLogits",
    "Replacement",
    "Scale",
    "Shuffle",
    "SpatialMap",
    "Tile",
    "discover",
    "exact_effects",
    "find_gates",
    "gate_effects",
    "gate_maps",
    "intervene",
    "require_gates",
    "signals_of",
]
