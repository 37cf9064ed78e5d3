"""Parse replacements as the command line takes them, from `identity` to `branch:1`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from se_probe.errors import SeProbeError
from se_probe.gates import Branch, GateSite, Identity, Replacement, Scale

Kind = Literal["identity", "mean", "class-mean", "shuffle", "swap", "scale", "branch"]
WORDS = "identity, mean, class-mean, shuffle, swap:A,B, scale:FACTOR or branch:NUMBER"


@dataclass(frozen=True)
class ReplacementSpec:
    """A requested replacement: its text and the parsed parts."""

    text: str
    kind: Kind
    classes: tuple[str, str] | None = None
    replacement: Replacement | None = None

    @property
    def by_class(self) -> bool:
        """Whether the replacement needs the class of each image, which a network in use does not know."""
        return self.kind in {"class-mean", "swap"}

    def fits(self, site: GateSite) -> bool:
        """Return whether this replacement applies to a site."""
        return self.kind != "branch" or _has_branch(site, self.replacement)


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
    raise SeProbeError(f"gates cannot be replaced with {text!r}; expected {WORDS}.")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _has_branch(site: GateSite, replacement: Replacement | None) -> bool:
    try:
        if replacement is not None:
            replacement.check(site)
    except SeProbeError:
        return False
    return True
