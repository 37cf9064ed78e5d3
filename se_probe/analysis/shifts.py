"""Shifts of a site's value between conditions (scales or changes): a paired test and verdict per site."""

from collections.abc import Hashable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from se_probe.analysis.scale import ATTENTION, GATE, NONE, SITE_COLUMNS
from se_probe.analysis.stats.moments import Floats
from se_probe.analysis.stats.paired import holm, paired_interval, sign_flip_test, smallest_p, strata
from se_probe.analysis.summary import Summary

LEVEL = 0.05
NEGLIGIBLE = 0.001
"""Smallest relevant shift in gate units. A shift is found only if the whole interval is beyond it, and excluded only if
the whole interval is within, so that more images turn neither into the other."""
VERDICTS = {
    ATTENTION: ("moves to the larger kernel", "moves to the smaller kernel"),
    GATE: ("opens", "closes"),
}
MOVES_IN_WORDS = {
    ATTENTION: ("attention moves to the larger kernel", "to the smaller kernel"),
    GATE: ("gates open", "close"),
}
STAYS, NOT_FOUND, UNJUDGED = f"stays (within {NEGLIGIBLE})", "no shift found", "cannot be judged"
ESTIMATES = ("effect", "ci_low", "ci_high", "p", "p_holm", "resampling_unit", "verdict", "classes_risen")
TEST_COLUMNS = (*SITE_COLUMNS, "from_scale", "to_scale", "images", "classes", "sd", "risen", *ESTIMATES)


def shift_tests(values: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Test for every site whether its value moves from each scale to the next, and from the first to the last.

    `values` is the table of `image_values`. Differences are taken within images, averaged with equal weights for
    classes, and tested by flipping signs (`sign_flip_test`) of the units of `strata`.

    One row a pair of scales and site: `SITE_COLUMNS`, `from_scale`, `to_scale`, `images`, `classes`; `sd`, the spread
    over images of the value at the first scale; `risen`, the share of images whose value rose; `effect` with `ci_low`
    and `ci_high` (95 %, in gate units), `p`, `p_holm` (over the sites of a pair of scales), `resampling_unit` ("class"
    or "image") and `verdict`: "cannot be judged" with too few units for any significant result, or no larger kernel;
    `classes_risen`, the number of classes whose mean rose.
    """
    scales: list[float] = sorted(values["scale"].unique())
    pairs = dict.fromkeys([*pairwise(scales), (scales[0], scales[-1])])
    return pd.concat([_pair_tests(values, pair, seed) for pair in pairs], ignore_index=True)


def overall_shifts(tests: pd.DataFrame) -> pd.DataFrame:
    """The rows of `shift_tests` from the smallest scale to the largest."""
    ends = (tests["from_scale"] == tests["from_scale"].min()) & (tests["to_scale"] == tests["to_scale"].max())
    return pd.DataFrame(tests[ends].reset_index(drop=True))


def shift_sentences(tests: pd.DataFrame) -> list[str]:
    """A sentence for each row of `shift_tests`; sites whose branches have no larger kernel share one."""
    judged = tests[tests["quantity"] != NONE]
    unjudged = tests.loc[tests["quantity"] == NONE, "site"].unique()
    sentences = [_sentence(row) for row in judged.to_dict("records")]
    if len(unjudged):
        sentences.append(f"{', '.join(unjudged)}: {UNJUDGED}: branches without kernels of different extent")
    return sentences


def _pair_tests(values: pd.DataFrame, pair: tuple[float, float], seed: int) -> pd.DataFrame:
    sites = values[list(SITE_COLUMNS)].drop_duplicates().set_index("site")
    scales = (values[values["scale"] == scale] for scale in pair)
    before, after = (rows.pivot(index="path", columns="site", values="value")[sites.index] for rows in scales)
    classes = values.drop_duplicates("path").set_index("path")["class"].reindex(before.index)
    table = sites.assign(from_scale=pair[0], to_scale=pair[1], images=len(before), classes=classes.nunique())
    tested = sites.index[sites["quantity"] != NONE]
    table["sd"] = before.std()
    table["risen"] = (after > before)[tested].mean()
    table = table.join(shift_estimates((after - before)[tested], classes, sites["quantity"], seed))
    table["verdict"] = table["verdict"].fillna(UNJUDGED)
    table["resampling_unit"] = table["resampling_unit"].fillna("")
    return table.reset_index()[list(TEST_COLUMNS)]


def shift_estimates(
    differences: pd.DataFrame, classes: pd.Series, quantities: pd.Series, seed: int = 0
) -> pd.DataFrame:
    """Test whether paired differences `(image, site)` are 0 on average: `ESTIMATES`, a row a site.

    `classes` is the class of each image, `quantities` are `ATTENTION` or `GATE` for each site.
    """
    if differences.shape[1] == 0:
        return pd.DataFrame(columns=list(ESTIMATES))
    units = strata(differences.to_numpy(), pd.factorize(classes)[0])
    interval, p = paired_interval(units, seed=seed), sign_flip_test(units, seed=seed)
    found = pd.DataFrame(
        {"effect": interval.estimate, "ci_low": interval.low, "ci_high": interval.high, "p": p, "p_holm": holm(p)},
        index=differences.columns,
    )
    enough = smallest_p(units.units) * len(found) <= LEVEL
    numbers = found[["effect", "ci_low", "ci_high", "p_holm"]].to_numpy()
    verdicts = [_verdict(name, row, enough=enough) for name, row in zip(quantities[found.index], numbers, strict=True)]
    risen = (differences.groupby(classes).mean() > 0).sum()
    return found.assign(resampling_unit=units.resampling_unit, verdict=verdicts, classes_risen=risen)


def _verdict(quantity: str, numbers: Floats, *, enough: bool) -> str:
    effect, low, high, p = numbers
    if not (enough and np.isfinite(numbers).all()):
        return UNJUDGED
    if max(abs(low), abs(high)) < NEGLIGIBLE:
        return STAYS
    beyond = low > NEGLIGIBLE or high < -NEGLIGIBLE
    return VERDICTS[quantity][int(effect < 0)] if p <= LEVEL and beyond else NOT_FOUND


def _sentence(row: Mapping[Hashable, Any]) -> str:
    branches = f" ({row['kernels']})" if row["kernels"] else ""
    return (
        f"{row['site']}: {row['verdict']}: {row['quantity']}{branches} {row['effect']:+.4f} "
        f"[{row['ci_low']:+.4f}, {row['ci_high']:+.4f}] from {row['from_scale']:g}× to {row['to_scale']:g}×, "
        f"p {row['p_holm']:.2g} after Holm, {row['images']} images; it rose in {row['classes_risen']:g} of "
        f"{row['classes']} classes, spread over images {row['sd']:.4f}"
    )


def scale_summary(tests: pd.DataFrame) -> Summary:
    """Summarise rows of `shift_tests` on one pair of scales (see `overall_shifts`).

    Up to three sentences: what cannot be judged, what moves where, the claim of the SKNet paper, the largest shift;
    then a line a site. No command is suggested.
    """
    judged = tests[tests["verdict"] != UNJUDGED]
    sentences = [
        *_unjudged(tests),
        *(_moves(rows, str(quantity)) for quantity, rows in judged.groupby("quantity", sort=False)),
        *_paper(judged[judged["quantity"] == ATTENTION]),
        *_largest(judged),
    ]
    sites = tests[tests["quantity"] != NONE]
    lines = [_line(row) for row in sites.to_dict("records")]
    return Summary(tuple(sentences[:3]), (*lines, *shift_sentences(tests[tests["quantity"] == NONE])), None)


def _unjudged(tests: pd.DataFrame) -> list[str]:
    unjudged = tests[tests["verdict"] == UNJUDGED]
    if unjudged.empty:
        return []
    alike = (unjudged["quantity"] == NONE).all()
    reason = "branches there have no kernels of different extent" if alike else "there are too few images or classes"
    return [f"At {len(unjudged)} of {len(tests)} sites nothing can be judged: {reason}."]


def _moves(rows: pd.DataFrame, quantity: str) -> str:
    """Numbers of sites at which a quantity moves up, down, or not."""
    first, (up, down) = rows.iloc[0], MOVES_IN_WORDS[quantity]
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
