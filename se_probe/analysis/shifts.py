"""Does a site's value move between scales: a paired test for each site, with a verdict in plain words."""

from collections.abc import Hashable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from se_probe.analysis.scale import ATTENTION, GATE, NONE, SITE_COLUMNS
from se_probe.analysis.stats.moments import Floats
from se_probe.analysis.stats.paired import holm, paired_interval, sign_flip_test, smallest_p, strata

LEVEL = 0.05
NEGLIGIBLE = 0.001
"""The smallest shift that counts, in gate units: it is found only where the whole interval lies beyond, and called none
only where the whole interval lies within, so that more images turn neither into the other."""
VERDICTS = {
    ATTENTION: ("moves to the larger kernel", "moves to the smaller kernel"),
    GATE: ("opens", "closes"),
}
STAYS, NOT_FOUND, UNJUDGED = f"stays (within {NEGLIGIBLE})", "no shift found", "cannot be judged"
ESTIMATES = ("effect", "ci_low", "ci_high", "p", "p_holm", "resampling_unit", "verdict", "classes_risen")
TEST_COLUMNS = (*SITE_COLUMNS, "from_scale", "to_scale", "images", "classes", "sd", "risen", *ESTIMATES)


def shift_tests(values: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Test for every site whether its value moves between scales, from each to the next and from end to end.

    `values` is the table of `image_values`. Differences are taken within images, averaged with every class weighing the
    same, and tested by flipping signs (`sign_flip_test`), with the units of `strata`.

    Returns:
        One row a pair of scales and site: `SITE_COLUMNS`, `from_scale`, `to_scale`, `images`, `classes`; `sd`, the
        spread over images of the value at the first scale; `risen`, the share of images whose value rose; `effect`
        with `ci_low` and `ci_high` (95 %, in gate units), `p`, `p_holm` (over the sites of a pair of scales),
        `resampling_unit` ("class" or "image") and `verdict`: "cannot be judged" with too few units for any significant
        result, or no larger kernel; `classes_risen`, the number of classes whose mean rose.
    """
    scales: list[float] = sorted(values["scale"].unique())
    pairs = dict.fromkeys([*pairwise(scales), (scales[0], scales[-1])])
    return pd.concat([_pair_tests(values, pair, seed) for pair in pairs], ignore_index=True)


def overall_shifts(tests: pd.DataFrame) -> pd.DataFrame:
    """The rows of `shift_tests` from the smallest scale to the largest."""
    ends = (tests["from_scale"] == tests["from_scale"].min()) & (tests["to_scale"] == tests["to_scale"].max())
    return pd.DataFrame(tests[ends].reset_index(drop=True))


def shift_sentences(tests: pd.DataFrame) -> list[str]:
    """One line a row of `shift_tests`: site, verdict, effect and what it rests on.

    Sites whose branches have no larger kernel share a line.
    """
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
    """Test whether paired differences are 0 on average, with Holm's correction over the columns.

    Args:
        differences: a row an image, a column a site, in gate units.
        classes: class of each image.
        quantities: what is followed at each site, `ATTENTION` or `GATE`.
        seed: seed of the random numbers.

    Returns:
        One row a site, the columns `ESTIMATES` of `shift_tests`.
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
