"""What a finding is, the rule that turns an interval into a verdict, and findings as a table."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import pandas as pd

Verdict = Literal["supported", "not supported", "cannot be judged"]
VERDICTS: tuple[Verdict, ...] = ("supported", "not supported", "cannot be judged")


@dataclass(frozen=True)
class Finding:
    """A claim about the gates of a network, what was measured, and the verdict.

    Attributes:
        key: short name that stays the same, such as `class-agnostic-early`.
        claim: the claim in one sentence, with its source.
        verdict: see `above`.
        statement: what was measured, in full, with the names of sites and units.
        value: the number behind the verdict, None where none could be computed.
        interval: its 95 % confidence limits; `statement` says whether for other classes or other images.
        sites: names of the sites that are the evidence, in network order.
        title: the claim in a few words.
        result: what was found in a few words, with the number.
        quantity: name and unit of `value`.
        bar: what the value is compared with, in words.
        news: a sentence for the summary of a run, "" for none.
        remedy: a sentence on what is known to help, "" for none.
        next_command: verb and options of `se-probe` that would settle the question or act on the answer.
    """

    key: str
    claim: str
    verdict: Verdict = "cannot be judged"
    statement: str = ""
    value: float | None = None
    interval: tuple[float, float] | None = None
    sites: tuple[str, ...] = ()
    title: str = ""
    result: str = ""
    quantity: str = ""
    bar: str = ""
    news: str = ""
    remedy: str = ""
    next_command: str = ""

    def undecided(self, reason: str, sites: Sequence[str] = (), *, news: str = "") -> "Finding":
        """Return the claim as one that cannot be judged, for the stated reason, whose first part is the result.

        Where the reason ends by asking for more images, the next command records them, unless the claim has another.
        """
        result = re.split(r"[:;]|\.(?= |$)| at (?=\w+_\d)", reason, maxsplit=1)[0]
        if result[1:2].islower() or result[1:2] == " ":
            result = result[:1].lower() + result[1:]
        option = re.search(r"with (--[a-z-]+)\.$", reason)
        more = self.next_command or (f"excite {option[1]} 50" if option else "")
        return replace(self, statement=reason, result=result, sites=tuple(sites), news=news, next_command=more)


def findings_table(findings: Iterable[Finding]) -> pd.DataFrame:
    """Return a row for each finding: its fields, the interval as `ci_low` and `ci_high`, sites joined by commas."""
    rows = []
    for finding in findings:
        low, high = finding.interval or (None, None)
        rows.append(asdict(finding) | {"ci_low": low, "ci_high": high, "sites": ",".join(finding.sites)})
    return pd.DataFrame(rows).drop(columns="interval", errors="ignore")


def above(interval: tuple[float, float], bar: float) -> Verdict:
    """Judge whether a number exceeds `bar`, the smallest that counts, from its confidence limits.

    Supported only if the lower limit exceeds the bar, not supported only if the upper limit is below it. More data
    narrow the interval: they settle what could not be judged, and reverse a verdict no more often than the error rate
    of the interval. NaN limits cannot be judged.
    """
    low, high = interval
    return "supported" if low > bar else "not supported" if high < bar else "cannot be judged"


def below(interval: tuple[float, float], bar: float) -> Verdict:
    """Judge whether a number stays below `bar`, by the rule of `above`."""
    low, high = interval
    return above((-high, -low), -bar)


def all_of(verdicts: Iterable[Verdict]) -> Verdict:
    """Judge a claim with several parts: it falls with any of them, and stands only with all."""
    parts = set(verdicts)
    if "not supported" in parts:
        return "not supported"
    return "supported" if parts == {"supported"} else "cannot be judged"
