"""Gates: where a network multiplies channels by data-dependent factors, and their values for each image."""

from se_probe.gates.discovery import Discovery, NoGatesError, SpatialMap, discover, find_gates, require_gates
from se_probe.gates.effects import GateEffects, GateGradients, gate_effects
from se_probe.gates.exact_effects import exact_effects
from se_probe.gates.intervention import Intervention, intervene
from se_probe.gates.recorder import GateRecorder
from se_probe.gates.replacements import Branch, Constant, Identity, PerLabel, Place, Replacement, Scale, Shuffle
from se_probe.gates.signals import signals_of
from se_probe.gates.site import GateSite

__all__ = [
    "Branch",
    "Constant",
    "Discovery",
    "GateEffects",
    "GateGradients",
    "GateRecorder",
    "GateSite",
    "Identity",
    "Intervention",
    "NoGatesError",
    "PerLabel",
    "Place",
    "Replacement",
    "Scale",
    "Shuffle",
    "SpatialMap",
    "discover",
    "exact_effects",
    "find_gates",
    "gate_effects",
    "intervene",
    "require_gates",
    "signals_of",
]
