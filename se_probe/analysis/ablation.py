"""Tables of an ablation: the cost of each intervention, over all images and by class, and the savings of removal."""

import numpy as np
import pandas as pd

from se_probe.analysis.outcomes import ESTIMATORS, NLL, OWN, AblationLike, Changes, cost_of, estimate, outcome_changes
from se_probe.analysis.stats.moments import Floats
from se_probe.analysis.stats.paired import holm, sign_flip_test

ALONE = "site"
"""The scope of an intervention at one site alone."""
SAVING = ("identity", "mean", "branch")
"""Replacements by constants, which make the computation of the gate unnecessary."""


def ablation_sites_table(ablation: AblationLike, *, seed: int = 0) -> pd.DataFrame:
    """Tabulate the cost of each intervention, with equal weights for classes and for the images of a class.

    Returns:
        One row per intervention, in the order of the ablation. After `FACTS` come `images` and `classes` seen,
        `labelled` images, for whose class the network has a unit and which alone count for accuracy and NLL, and
        `unchanged`, the images with the same outputs as before (KL exactly 0). Then accuracies (shares) and NLL (nats)
        without and with the intervention, `clean_top1`, `changed_top1` …; the change, `top1_change`, `top5_change` and
        `nll_change`; `kl`, of the untouched network's distribution from the changed one in nats; `agreement`, the share
        of images with the same first choice; each with its 95 % limits `…_ci_low` and `…_ci_high`, for other images of
        these same classes, NaN where their spread is unknown (see `outcomes.estimate`). `nll_p`: paired sign-flip test
        that NLL does not change; `nll_p_holm`: adjusted over single sites, NaN for other scopes. `estimators` in words
        and `gates_from`, the recording with the mean gates. With the user's metric `clean_metric`,
        `changed_metric`, `metric_change` and `metric_p` replace these, in its unit, with `metric` (its name), `unit`
        and `lower_is_better`; `labelled` are the images that have a value, `unchanged` those with the same value.

    Raises:
        SeProbeError: the ablation is empty, or its tables do not fit its outcomes.

    Source: `stats.paired`.
    """
    changes = outcome_changes(ablation)
    cost = changes.cost
    table = changes.interventions.assign(
        images=len(changes.labels),
        classes=len(changes.classes),
        labelled=int(changes.labelled.sum()),
        unchanged=np.sum(changes.values["kl" if cost == NLL else OWN] == 0, axis=0),
    )
    p = f"{cost.measure}_p"
    found = sign_flip_test(changes.losses, seed=seed) if changes.labelled.any() else np.nan
    table = table.assign(**_own(changes), **_measured(changes, None, seed), **{p: found})
    alone = (table["scope"] == ALONE) & table[p].notna()
    table[f"{p}_holm"] = np.nan
    table.loc[alone, f"{p}_holm"] = holm(table.loc[alone, p].to_numpy(dtype=np.float64))
    words = ESTIMATORS if cost == NLL else "paired bootstrap over images within classes"
    return table.assign(estimators=words, gates_from=ablation.provenance.get("gates_from") or "")


def ablation_classes_table(ablation: AblationLike, *, seed: int = 0) -> pd.DataFrame:
    """Tabulate the cost of each intervention for each class: one row per intervention and class.

    Returns:
        Rows in the order of the ablation and of its images. After `FACTS` come `class` and `class_index` (missing where
        the network has no unit for it), then the columns of `ablation_sites_table` without tests. A class with one
        image has no limits of NLL and KL.

    Raises:
        SeProbeError: the ablation is empty, or its tables do not fit its outcomes.
    """
    changes = outcome_changes(ablation)
    indices = ablation.images.drop_duplicates("class")["class_index"].to_numpy()
    tables = []
    for label, name in enumerate(changes.classes):
        own = changes.labels == label
        table = changes.interventions.assign(
            **{"class": name, "class_index": indices[label]},
            order=np.arange(len(changes.interventions)),
            images=int(own.sum()),
            labelled=int((own & changes.labelled).sum()),
            **_own(changes),
            **_measured(changes, label, seed),
        )
        tables.append(table)
    joined = pd.concat(tables, ignore_index=True).sort_values("order", kind="stable", ignore_index=True)
    return joined.drop(columns="order").astype({"class_index": "Int64"})


def with_savings(table: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """Add `parameters_saved` and `multiply_adds_saved` by removing the gate paths that an intervention replaces.

    `costs` has one row per site with `site`, `parameters` and `multiply_adds`. NaN where the replacement still needs
    the gate path, or a site is not in `costs`.
    """
    by_site = costs.set_index("site")
    constant = table["replacement"].str.split(":").str[0].isin(SAVING)
    for name in ("parameters", "multiply_adds"):
        saved = [by_site[name].reindex(sites.split(",")).sum(skipna=False) for sites in table["sites"]]
        table = table.assign(**{f"{name}_saved": np.where(constant, np.asarray(saved, dtype=np.float64), np.nan)})
    return table


def site_importance(table: pd.DataFrame, specificity: pd.DataFrame) -> pd.DataFrame:
    """Class specificity and importance of each site that was replaced alone, one row each in network order.

    `table` holds rows of `ablation_sites_table` with one replacement, `specificity` is the table of `site_specificity`:
    its `site`, `stage`, `between_class_sd`, `omega_squared` with `ci_low` and `ci_high`, and `verdict`, beside
    `nll_change` and `top1_change`, or the change of the user's metric, with limits.
    """
    own = OWN in table
    changed = [OWN] if own else ["nll", "top1"]
    facts = [OWN, "unit", "lower_is_better"] if own else []
    alone = table[table["scope"] == ALONE].rename(columns={"sites": "site"})
    left = specificity[["site", "stage", "between_class_sd", "omega_squared", "ci_low", "ci_high", "verdict"]]
    limited = [f"{name}_{end}" for name in changed for end in ("change", "ci_low", "ci_high")]
    right = alone[["site", *facts, *limited]]
    return left.merge(right, on="site", validate="one_to_one")


def importance_correlations(table: pd.DataFrame) -> dict[str, float]:
    """Return Spearman's correlation over sites of the loss with each measure of specificity, by its column.

    `table` is that of `site_importance`. Sites with missing values and measures with fewer than three sites are left
    out.
    """
    found = {}
    cost = cost_of(table)
    for column in ("between_class_sd", "omega_squared"):
        known = table.dropna(subset=[column, cost.change])
        if len(known) > 2:
            found[column] = float(known[column].corr(cost.sign * known[cost.change], method="spearman"))
    return found


def ablation_tables(ablation: AblationLike, costs: pd.DataFrame | None = None) -> dict[str, pd.DataFrame]:
    """Return the tables of `ablation_sites_table` and `ablation_classes_table`, by file name.

    Args:
        ablation: the ablation.
        costs: as for `with_savings`; without it, the table of sites has no savings.

    Raises:
        SeProbeError: the ablation is empty, or its tables do not fit its outcomes.
    """
    sites = ablation_sites_table(ablation)
    return {
        "ablation_sites.csv": sites if costs is None else with_savings(sites, costs),
        "ablation_classes.csv": ablation_classes_table(ablation),
    }


def _measured(changes: Changes, label: int | None, seed: int) -> dict[str, Floats]:
    """Columns of all measures over a class, or over all (None)."""
    columns: dict[str, Floats] = {}
    for name in changes.values:
        found, column = estimate(changes, name, label, seed=seed), name
        if name in changes.clean:
            clean, column = changes.clean_mean(name, label), f"{name}_change"
            columns |= {f"clean_{name}": np.full_like(found.estimate, clean), f"changed_{name}": clean + found.estimate}
        columns |= {column: found.estimate, f"{name}_ci_low": found.low, f"{name}_ci_high": found.high}
    return columns


def _own(changes: Changes) -> dict[str, str | bool]:
    """Columns that describe the user's metric."""
    cost = changes.cost
    return {} if cost == NLL else {OWN: cost.name, "unit": cost.unit, "lower_is_better": cost.lower_is_better}
