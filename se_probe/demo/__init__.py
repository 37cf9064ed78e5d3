"""The bundled demo: ten drawn ImageNet classes with known factors and three small networks trained on them."""

from se_probe.demo.networks import DEMO_MODELS, demo_network
from se_probe.demo.stimuli import (
    DEMO_INSTANCES,
    STIMULUS_SIZE,
    StimulusFactors,
    draw,
    draw_background,
    object_mask,
    stimulus_factors,
)
from se_probe.demo.subjects import SUBJECTS
from se_probe.labels import LabelSpace, label_space_from_names

DEMO_CLASSES: LabelSpace = label_space_from_names([subject.wnid for subject in SUBJECTS.values()], title="demo classes")
"""The ten classes, in the order of the networks' output units."""

__all__ = [
    "DEMO_CLASSES",
    "DEMO_INSTANCES",
    "DEMO_MODELS",
    "STIMULUS_SIZE",
    "StimulusFactors",
    "demo_network",
    "draw",
    "draw_background",
    "object_mask",
    "stimulus_factors",
]
