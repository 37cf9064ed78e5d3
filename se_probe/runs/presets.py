"""The papers' experiments as presets: a network, classes, sites, channels and scales. One entry per paper.

An entry's note, which the run shows, says what the paper does not confirm.
"""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_CHANNELS = 50  # in the figure of the SENet paper


@dataclass(frozen=True)
class Preset:
    """The settings of one paper's figure; explicit options win over them.

    Attributes:
        source: the paper and the place in it.
        model: the pretrained network nearest the paper's.
        classes: classes to compare.
        sites: sites that the figure shows.
        channels: number of channels that it shows.
        within: classes of the within-class figure.
        scales: enlargements of the scale experiment.
        note: what is unconfirmed, or differs from the paper.
    """

    source: str
    model: str
    classes: str
    sites: tuple[str, ...] | None = None
    channels: int = DEFAULT_CHANNELS
    within: str | None = None
    scales: tuple[float, ...] = (1.0, 1.5, 2.0)
    note: str | None = None


PAPER_CLASSES = "goldfish,pug,plane,cliff"

PRESETS = {
    "senet": Preset(
        source='SENet (arXiv 1709.01507), "Role of Excitation"',
        model="legacy_seresnet50",
        classes=PAPER_CLASSES,
        sites=("SE_2_3", "SE_3_4", "SE_4_6", "SE_5_1", "SE_5_2", "SE_5_3"),
        within="goldfish,plane",
        note="the grid of 3 by 2 panels is from memory; which fifty channels the paper sampled is not known",
    ),
    "sknet": Preset(
        source="SKNet (arXiv 1903.06586), the figures of attention against object scale",
        model="skresnext50_32x4d",
        classes=PAPER_CLASSES,
        sites=("SK_2_3", "SK_3_4", "SK_5_3"),
        note="timm's network is close to SKNet-50 but not the authors' own; that objects are enlarged by cropping the "
        "centre and resizing is from memory; the paper's class figure averages all classes, not four",
    ),
    "eca": Preset(
        source="ECA-Net (arXiv 1910.03151), appendix",
        model="ecaresnet50d",
        classes="hammerhead,ambulance,medicine chest,butternut squash",
        note="all of this entry is from memory; timm's network is a ResNet-50-D with ECA, not the paper's ResNet-50",
    ),
}


DEFAULT = Preset(source="", model="legacy_seresnet50", classes=PAPER_CLASSES)


def preset_of(name: str | None) -> Preset:
    """Return a preset by name, the defaults for None."""
    return DEFAULT if name is None else PRESETS[name]
