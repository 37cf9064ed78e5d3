"""The section on the effects of channels: whether the first order holds, how large and how concentrated they are."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from se_probe.recording.run_folder import FIGURES, TABLES
from se_probe.report.figures import effect_figures
from se_probe.report.section import Section, sites_table

_COLUMNS = ("site", "correlation", "slope", "rmse", "holds")
_OF_SITES = ("site", "effect", "half_share", "correlation", "partial")


def effects_section(folder: Path) -> Section | None:
    """Return the section on the effects of channels, None where they were not recorded."""
    path = folder / TABLES / "effect_agreement.csv"
    if not path.is_file():
        return None
    held = pd.read_csv(path)
    used = held[held["holds"]]
    shown = held[list(_COLUMNS)].rename(columns={"correlation": "agreement"})
    sites = folder / TABLES / "effect_sites.csv"
    if len(used) and sites.is_file():
        of_sites = pd.read_csv(sites)[list(_OF_SITES)].rename(columns={"correlation": "effect_selectivity"})
        shown = shown.merge(of_sites, on="site", how="left")
    shown["holds"] = shown["holds"].map({True: "yes", False: "no: not used"})
    words = (
        "The effect of a channel is the change of the answer if its gate were the mean gate of all classes: below 0 "
        "where the gate helps. It is the first term of a Taylor series, from one backward pass for all channels, and "
        "includes what the gate does to the gates of later sites.",
        f"It was held against exact replacement of {held['channels'].iloc[0]} channels at every site in "
        f"{held['images'].iloc[0]} images: it holds at {len(used)} of {len(held)} sites. Effects of several channels "
        "do not add up but to first order.",
    )
    figures = tuple(effect_figures(folder / FIGURES))
    table = sites_table(shown)
    return Section("effects", "Effects of channels", words, table, figures, _summary(held, used, folder))


def _summary(held: pd.DataFrame, used: pd.DataFrame, folder: Path) -> tuple[str, ...]:
    """One sentence: where the first order holds, and how concentrated effects are."""
    counted = f"First-order effects of channels agree with replacement at {len(used)} of {len(held)} sites"
    overall = folder / TABLES / "effect_overall.csv"
    if not len(used) or not overall.is_file():
        return (f"{counted}.",)
    row = pd.read_csv(overall).iloc[0]
    return (f"{counted}; half of the effect is carried by {100 * row['half_share']:.0f} % of a site's channels.",)
