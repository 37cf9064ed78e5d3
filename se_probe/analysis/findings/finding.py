"""What a finding is, and findings as rows of words."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["supported", "not supported", "cannot be judged"]

COLUMNS = ("claim", "verdict", "number", "what was measured")


@dataclass(frozen=True)
class Finding:
    """A claim about the gates of a network, what was measured, and whether that bears the claim out.

    Attributes:
        key: short name that stays the same, such as `class-agnostic-early`.
        claim: the claim in words, with its source.
        verdict: "cannot be judged" is said wherever the data do not tell.
        statement: what was measured, with the names of sites and numbers in gate units.
        value: the number behind the verdict, None where none could be computed.
        interval: its 95 % confidence limits; what they are for (other classes, other images) is in `statement`.
        sites: the sites that are the evidence, in network order.
    """

    key: str
    claim: str
    verdict: Verdict
    statement: str
    value: float | None
    interval: tuple[float, float] | None
    sites: tuple[str, ...]

    @property
    def number(self) -> str:
        """Value and interval in words, empty without a value."""
        if self.value is None:
            return ""
        limits = f" ({' to '.join(_decimals(end) for end in self.interval)})" if self.interval else ""
        return _decimals(self.value) + limits


def _decimals(number: float) -> str:
    """Three decimals, or two digits of a smaller number."""
    return f"{number:.3f}" if abs(number) >= 0.01 or number == 0 else f"{number:.2g}"


def findings_table(findings: Iterable[Finding]) -> list[tuple[str, str, str, str]]:
    """One row of plain text a finding, in the order of `COLUMNS`."""
    return [(finding.claim, finding.verdict, finding.number, finding.statement) for finding in findings]


def above(interval: tuple[float, float], bar: float, small: float | None = None) -> Verdict:
    """Whether a number is above `bar`: all of its interval is, and some of it exceeds `small` too (None: `bar`)."""
    low, high = interval
    if high <= (bar if small is None else small):
        return "not supported"
    return "supported" if low > bar else "cannot be judged"
