"""What a scale experiment found: up to three sentences, worst news first, and a line a site."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from se_probe.analysis.findings.summary import Summary
from se_probe.analysis.scale import ATTENTION, GATE, NONE
from se_probe.analysis.shifts import NOT_FOUND, STAYS, UNJUDGED, VERDICTS, shift_sentences

MOVES = {ATTENTION: ("attention moves to the larger kernel", "to the smaller kernel"), GATE: ("gates open", "close")}


def scale_summary(tests: pd.DataFrame) -> Summary:
    """Summarise the verdicts of a scale experiment.

    Args:
        tests: rows of `shift_tests` on one pair of scales, see `overall_shifts`.

    Returns:
        What cannot be judged, then what moves where, what the SKNet paper says of it, and the largest shift, up to
        three sentences; then a line a site. There is no command to suggest.
    """
    judged = tests[tests["verdict"] != UNJUDGED]
    told = [
        *_unjudged(tests),
        *(_moves(rows, str(quantity)) for quantity, rows in judged.groupby("quantity", sort=False)),
        *_paper(judged[judged["quantity"] == ATTENTION]),
        *_largest(judged),
    ]
    sites = tests[tests["quantity"] != NONE]
    lines = [_line(row) for row in sites.to_dict("records")]
    return Summary(tuple(told[:3]), (*lines, *shift_sentences(tests[tests["quantity"] == NONE])), None)


def _unjudged(tests: pd.DataFrame) -> list[str]:
    open_, still = tests[tests["verdict"] == UNJUDGED], len(tests)
    if open_.empty:
        return []
    alike = (open_["quantity"] == NONE).all()
    reason = "branches there have no kernels of different extent" if alike else "there are too few images or classes"
    return [f"At {len(open_)} of {still} sites nothing can be judged: {reason}."]


def _moves(rows: pd.DataFrame, quantity: str) -> str:
    """At how many sites a quantity moves up, down, or not."""
    first, (up, down) = rows.iloc[0], MOVES[quantity]
    counts = [int((rows["verdict"] == verdict).sum()) for verdict in VERDICTS[quantity]]
    rest = len(rows) - sum(counts)
    scales = f"From {first['from_scale']:g}× to {first['to_scale']:g}×"
    if rest == len(rows):
        return f"{scales} no shift of {up.split()[0]} is found at any of {rest} sites."
    ending = f"; no shift is found at {rest}" if rest else ""
    return f"{scales} {up} at {counts[0]} of {len(rows)} sites and {down} at {counts[1]}{ending}."


def _paper(rows: pd.DataFrame) -> list[str]:
    """The SKNet paper's claim: to the larger kernel in low and middle layers, and not in the highest."""
    last = rows["stage"] == rows["stage"].max()
    if rows.empty or last.all():
        return []
    larger = rows["verdict"] == VERDICTS[ATTENTION][0]
    return [
        "The SKNet paper reports a move to the larger kernel in low and middle layers and none in the highest: here "
        f"it is found at {(larger & ~last).sum()} of {(~last).sum()} sites before the last stage and at "
        f"{(larger & last).sum()} of {last.sum()} in it."
    ]


def _largest(rows: pd.DataFrame) -> list[str]:
    found = rows[~rows["verdict"].isin([NOT_FOUND, STAYS])]
    if found.empty:
        return []
    row = found.sort_values("effect", key=abs).iloc[-1]
    beside = f", {abs(row['effect']) / row['sd']:.1f} times the spread over images" if row["sd"] > 0 else ""
    return [f"The largest shift is {row['effect']:+.3f} in gate units, at {row['site']}{beside}."]


def _line(row: Mapping[Hashable, Any]) -> str:
    limits = f", {row['effect']:+z.3f} [{row['ci_low']:+z.3f}, {row['ci_high']:+z.3f}]"
    return f"{row['site']}: {row['verdict']}{limits if row['ci_low'] == row['ci_low'] else ''}"
