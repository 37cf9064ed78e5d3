"""Parse replacements as the command line takes them, from `identity` to `tile:7`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates import Branch, GateSite, Identity, Quantize, QuantizeLogits, Replacement, Scale, Tile

Kind = Literal["identity", "mean", "class-mean", "shuffle", "swap", "scale", "branch", "quantize", "tile"]
WORDS = (
    "identity, mean, class-mean, shuffle, swap:A,B, scale:FACTOR, branch:NUMBER, quantize:BITS, quantize-logits:BITS "
    "or tile:SIDE"
)


@dataclass(frozen=True)
class ReplacementSpec:
    """A requested replacement: its text and the parsed parts; `side` is that of tiles, which need the network."""

    text: str
    kind: Kind
    classes: tuple[str, str] | None = None
    replacement: Replacement | None = None
    side: int | None = None

    @property
    def by_class(self) -> bool:
        """Whether the replacement needs the class of each image, which a network in use does not know."""
        return self.kind in {"class-mean", "swap"}

    def of(self, network: nn.Module) -> ReplacementSpec:
        """Return the same, for a network."""
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
    """Parse the text of a replacement.

    Raises:
        SeProbeError: the text is unknown, or its argument cannot be parsed.
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
            made = Quantize if kind == "quantize" else QuantizeLogits
            return ReplacementSpec(text, "quantize", replacement=made(int(argument)))
        case "tile" if argument.isdecimal() and int(argument):
            return ReplacementSpec(text, "tile", side=int(argument))
    raise SeProbeError(f"gates cannot be replaced with {text!r}; expected {WORDS}.")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
