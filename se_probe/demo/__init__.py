"""The bundled networks, and the demo: ten drawn ImageNet classes with known factors and three networks for them."""

from se_probe.demo.networks import DEMO_MODELS, PHOTO_MODELS, PHOTO_WNIDS, demo_network, photo_network
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

PHOTO_CLASSES: LabelSpace = label_space_from_names(PHOTO_WNIDS, title="50 classes of Tiny-ImageNet")
"""The classes of the networks trained on photographs, in the order of their output units."""

__all__ = [
    "DEMO_CLASSES",
    "DEMO_INSTANCES",
    "DEMO_MODELS",
    "PHOTO_CLASSES",
    "PHOTO_MODELS",
    "STIMULUS_SIZE",
    "StimulusFactors",
    "demo_network",
    "draw",
    "draw_background",
    "object_mask",
    "photo_network",
    "stimulus_factors",
]
