"""Plan interventions: which sites are changed together, and what replaces their gates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates import (
    Branch,
    Constant,
    GateSite,
    Identity,
    PerLabel,
    Quantize,
    QuantizeLogits,
    Replacement,
    Scale,
    Tile,
)
from se_probe.labels import ImageClass
from se_probe.recording import Recording

Scope = Literal["site", "cumulative", "stage", "sites"]
SCOPES = ("each", "cumulative", "stages")
Kind = Literal["identity", "mean", "class-mean", "shuffle", "swap", "scale", "branch", "quantize", "tile"]
WORDS = (
    "identity, mean, class-mean, shuffle, swap:A,B, scale:FACTOR, branch:NUMBER, quantize:BITS, quantize-logits:BITS "
    "or tile:SIDE"
)


@dataclass(frozen=True)
class SiteGroup:
    """Sites whose gates are replaced together, in network order; `name` is unique within a scope."""

    name: str
    scope: Scope
    sites: tuple[GateSite, ...]

    @property
    def site_names(self) -> tuple[str, ...]:
        """Names of the sites."""
        return tuple(site.name for site in self.sites)


def plan_interventions(sites: Sequence[GateSite], which: Sequence[str] = SCOPES) -> list[SiteGroup]:
    """Return the groups of sites to change together.

    Args:
        sites: the network's sites, in network order.
        which: "each" for every site alone, "cumulative" for the last site, the last two and so on, "stages" for all
            sites of a stage, and names of sites, which form one group.

    Raises:
        SeProbeError: `which` is empty, or contains something that is neither a scope nor a site.
    """
    names = [site.name for site in sites]
    unknown = next((item for item in which if item not in SCOPES and item not in names), None)
    if unknown is not None:
        raise SeProbeError(
            f"there is no site {unknown!r} to intervene on; expected {', '.join(SCOPES)}, or some of "
            f"{', '.join(names)}."
        )
    planned = []
    if named := tuple(site for site in sites if site.name in which):
        planned.append(SiteGroup("+".join(site.name for site in named), "sites", named))
    if "each" in which:
        planned += [SiteGroup(site.name, "site", (site,)) for site in sites]
    if "cumulative" in which:
        firsts = range(len(sites) - 1, -1, -1)
        planned += [SiteGroup(f"from {names[first]}", "cumulative", tuple(sites[first:])) for first in firsts]
    if "stages" in which:
        for stage in sorted({site.stage for site in sites}):
            planned.append(SiteGroup(f"stage {stage}", "stage", tuple(site for site in sites if site.stage == stage)))
    if not planned:
        raise SeProbeError(f"no sites to intervene on were given; expected {', '.join(SCOPES)}, or names of sites.")
    return planned


@dataclass(frozen=True)
class ReplacementSpec:
    """A replacement as text, parsed."""

    text: str  # as given on the command line
    kind: Kind  # its word
    classes: tuple[str, str] | None = None  # the two classes of a swap
    # The replacement; None where it is made from a recording, from other images or from the network.
    replacement: Replacement | None = None
    side: int | None = None  # side of a tile, whose replacement needs the network (`of`)

    def of(self, network: nn.Module) -> ReplacementSpec:
        """Return the spec with the replacement for a network."""
        return self if self.side is None else replace(self, replacement=Tile(network, self.side))

    def refusal(self, site: GateSite) -> str:
        """Return why this replacement does not apply to a site, "" where it does."""
        try:
            if self.replacement is not None:
                self.replacement.check(site)
        except SeProbeError as error:
            return str(error)
        return ""


def parse_replacement(text: str) -> ReplacementSpec:
    """Parse a replacement of the command line, from `identity` to `tile:7`.

    Raise SeProbeError if the text is unknown, or its argument cannot be parsed.
    """
    kind, _, argument = text.partition(":")
    match kind:
        case "identity" if not argument:
            return ReplacementSpec(text, "identity", replacement=Identity())
        case "mean" | "class-mean" | "shuffle" if not argument:
            return ReplacementSpec(text, kind)
        case "swap":
            parts = [part.strip() for part in argument.split(",")]
            if len(parts) == 2 and all(parts):
                return ReplacementSpec(text, "swap", classes=(parts[0], parts[1]))
        case "scale":
            if (factor := _number(argument)) is not None:
                return ReplacementSpec(text, "scale", replacement=Scale(factor))
        case "branch" if argument.isdecimal():
            return ReplacementSpec(text, "branch", replacement=Branch(int(argument)))
        case "quantize" | "quantize-logits" if argument.isdecimal():
            quantize = Quantize if kind == "quantize" else QuantizeLogits
            return ReplacementSpec(text, "quantize", replacement=quantize(int(argument)))
        case "tile" if argument.isdecimal() and int(argument):
            return ReplacementSpec(text, "tile", side=int(argument))
    raise SeProbeError(f"gates cannot be replaced with {text!r}; expected {WORDS}.")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def mean_gates(recording: Recording) -> dict[str, Constant]:
    """Return a `Constant` per site name: the mean of the class means, `(channel,)` or `(branch, channel)`."""
    return {name: Constant(values) for name, values in mean_of_class_means(recording).items()}


def mean_of_class_means(recording: Recording) -> dict[str, NDArray[np.float64]]:
    """Return the mean of the class means per site name, `(channel,)` or `(branch, channel)`.

    Every class has the same weight, as in the curve "all" of the SENet paper's figures.
    """
    return {site.name: _class_means(recording, site).mean(axis=0) for site in recording.sites}


def class_mean_gates(recording: Recording) -> dict[str, PerLabel]:
    """Return a `PerLabel` per site name, with the mean gates of every class; labels are class names.

    It uses the true class of each image, which is unknown in use, so the outcome bounds nothing.
    """
    classes = recording.classes["name"].tolist()
    return {site.name: PerLabel(_class_means(recording, site), classes) for site in recording.sites}


def _class_means(recording: Recording, site: GateSite) -> NDArray[np.float64]:
    means: NDArray[np.float64] = recording.moments(site.name)["mean"].to_numpy()
    return means


def shuffled(places: Sequence[int], seed: int) -> dict[int, int]:
    """Return a donor for each image: all images in one random cycle, so that none is its own donor."""
    order = np.random.default_rng(seed).permutation(np.asarray(places))
    return dict(zip(order.tolist(), np.roll(order, -1).tolist(), strict=True))


def swapped(classes: Mapping[int, ImageClass], pair: tuple[ImageClass, ImageClass], seed: int) -> dict[int, int]:
    """Return for each image of two classes a donor of the other class, taken in turn from a random order.

    Raise SeProbeError if a class has no image.
    """
    first, second = ([place for place, item in classes.items() if item == one] for one in pair)
    for image_class, members in zip(pair, (first, second), strict=True):
        if not members:
            raise SeProbeError(f"no image of {image_class.describe()} could be decoded; choose another class to swap.")
    return dict(_drawn(first, second, seed)) | dict(_drawn(second, first, seed + 1))


def _drawn(receivers: Sequence[int], donors: Sequence[int], seed: int) -> Iterator[tuple[int, int]]:
    order = np.random.default_rng(seed).permutation(np.asarray(donors)).tolist()
    for turn, receiver in enumerate(receivers):
        yield receiver, order[turn % len(order)]


def donated(
    gates: Mapping[str, NDArray[np.floating]], places: Sequence[int], donors: Mapping[int, int]
) -> dict[str, PerLabel]:
    """Return replacements that give each image its donor's gates; labels are positions in the selection."""
    row = {place: number for number, place in enumerate(places)}
    rows = [row[donor] for donor in donors.values()]
    labels = [str(receiver) for receiver in donors]
    return {site: PerLabel(values[rows], labels) for site, values in gates.items()}
