"""What a comparison found: three sentences, a line a network and a pair, and full statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from se_probe.analysis.findings.summary import Summary

if TYPE_CHECKING:
    from se_probe.analysis.comparison import Comparison

STILL = {
    "collapsed": "have collapsed",
    "saturated": "are saturated",
    "constant": "are constant",
    "unknown": "cannot be judged",
}
"""States of sites that are not live, the worst first, as predicates."""


def comparison_summary(comparison: Comparison) -> Summary:
    """Summarise a comparison: the state of the gates, what they depend on, how alike they are; a line each below."""
    runs, pairs = comparison.sites.groupby("run", sort=False), comparison.matches.groupby(["run", "other"], sort=False)
    return Summary(
        (_states(comparison), _spreads(comparison), _likeness(comparison)),
        (
            *(_run_line(str(label), rows) for label, rows in runs),
            *(_pair_line(str(run), str(other), rows) for (run, other), rows in pairs),
        ),
        None,
    )


def _states(comparison: Comparison) -> str:
    """Which sites are not live, the worst state first."""
    sites = comparison.sites
    sizes = sites["run"].value_counts().to_dict()
    told = []
    for kind, predicate in STILL.items():
        if numbers := sites.loc[sites["verdict"] == kind, "run"].value_counts(sort=False).to_dict():
            where = [f"{number} of {sizes[run]} sites of {run}" for run, number in numbers.items()]
            told.append(f"{predicate} at {_listed(where)}")
    if not told:
        return f"The gates of {_listed(comparison.runs)} are live at all sites: they depend on the image."
    rest = "" if (sites["verdict"] != "live").all() else "; all other sites are live"
    return f"Gates {', '.join(told)}{rest}."


def _spreads(comparison: Comparison) -> str:
    """How far class means are apart, in gate units."""
    medians = comparison.sites.groupby("run", sort=False)["between_class_sd"].median()
    order = medians.sort_values(ascending=False, kind="stable")
    spreads = [f"{value:.2g} in {run}" for run, value in order.items()]
    return f"Class means differ by {_listed(spreads)}, in gate units (standard deviation, median site)."


def _likeness(comparison: Comparison) -> str:
    """How alike the most alike sites are, over all pairs of networks."""
    known = comparison.matches.dropna(subset=["cka"])
    if known.empty:
        return "No site can be matched with one of another network, since gates do not vary."
    apart = (known["run_depth"] - known["other_depth"]).abs().median()
    return (
        f"The most alike site of another network has a CKA of {known['cka'].median():.2f} ({known['cka'].min():.2f} to "
        f"{known['cka'].max():.2f}; 1 is alike, 0 unrelated) and lies {apart:.2f} of the depth away (medians)."
    )


def _run_line(label: str, rows: pd.DataFrame) -> str:
    highest = rows.sort_values("specificity", ascending=False).iloc[0]
    live = (rows["verdict"] == "live").sum()
    return (
        f"{label}: {live} of {len(rows)} sites live, SD {rows['sd'].median():.2g} over images, "
        f"{rows['between_class_sd'].median():.2g} between classes, ω² {rows['specificity'].median():.2f}, highest at "
        f"{highest['site']} ({highest['specificity']:.2f})"
    )


def _pair_line(run: str, other: str, rows: pd.DataFrame) -> str:
    known = rows.dropna(subset=["cka"])
    if known.empty:
        return f"{run} → {other}: no match"
    apart = (known["run_depth"] - known["other_depth"]).abs().median()
    return f"{run} → {other}: CKA {known['cka'].median():.2f}, {apart:.2f} of the depth away"


def _listed(parts: Sequence[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def comparison_sentences(comparison: Comparison) -> list[str]:
    """Say in plain words what the networks' gates do and how alike they are, a sentence a run and a pair."""
    pairs = comparison.matches.groupby(["run", "other"], sort=False)
    return [
        *(_about_run(label, rows) for label, rows in comparison.sites.groupby("run", sort=False)),
        *(_about_pair(str(run), str(other), rows) for (run, other), rows in pairs),
    ]


def _about_run(label: object, rows: pd.DataFrame) -> str:
    counts = rows["verdict"].value_counts()
    states = ", ".join(f"{verdict} at {number} of {len(rows)} sites" for verdict, number in counts.items())
    highest = rows.sort_values("specificity", ascending=False).iloc[0]
    still = rows["verdict"].isin(("collapsed", "constant", "saturated")).mean() >= 0.5
    warning = "; most of its gates hardly move, so that its shares and similarities are those of next to no variance"
    return (
        f"{label}: gates {states}; their standard deviation over images is {rows['sd'].median():.2g} (median site), "
        f"that between class means {rows['between_class_sd'].median():.2g}; ω² is "
        f"{rows['specificity'].median():.2f} (median), highest at {highest['site']} with "
        f"{highest['specificity']:.2f}{warning if still else ''}."
    )


def _about_pair(run: str, other: str, rows: pd.DataFrame) -> str:
    known = rows.dropna(subset=["cka"])
    if known.empty:
        return f"{run} and {other}: no site can be matched, since gates do not vary."
    apart = (known["run_depth"] - known["other_depth"]).abs().median()
    both = ((known["run_verdict"] == "live") & (known["other_verdict"] == "live")).sum()
    return (
        f"{run} → {other}: the most alike site has a CKA of {known['cka'].median():.2f} (median; "
        f"{known['cka'].min():.2f} to {known['cka'].max():.2f}) and lies {apart:.2f} of the depth away (median); in "
        f"{both} of {len(known)} matches the gates of both sites are live."
    )
