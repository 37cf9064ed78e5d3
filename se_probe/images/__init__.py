"""Labelled images: layouts on disk, named data sets, selection by a stated rule, loading in batches."""

from se_probe.images.classes import label_disagreement
from se_probe.images.decode import DeviceDecoder
from se_probe.images.imageset import ImageSet, Sample
from se_probe.images.loader import Batch, Skip, batches
from se_probe.images.open import demo_images, open_images
from se_probe.images.selection import Selected, Selection, select

__all__ = [
    "Batch",
    "DeviceDecoder",
    "ImageSet",
    "Sample",
    "Selected",
    "Selection",
    "Skip",
    "batches",
    "demo_images",
    "label_disagreement",
    "open_images",
    "select",
]
