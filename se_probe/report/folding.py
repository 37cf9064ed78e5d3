"""The section on folding: which gates became constants, what that costs, and why others stay."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from se_probe.recording.run_folder import FACTS, JOINED_FOLD, TABLES
from se_probe.report.sites_table import SitesTable, sites_table

_COLUMNS = {"site": "site", "image_sd": "SD of its gates", "how": "Folded", "layers": "Into", "reason": "Why not"}


@dataclass(frozen=True)
class Folding:
    """Sentences on the outcome, and the table of sites, the most static first."""

    words: tuple[str, ...]
    sites: SitesTable


def read_folding(folder: Path) -> Folding | None:
    """Read the run of `fold` that joined a run, None where there is none or its files cannot be read."""
    place = folder / JOINED_FOLD
    try:
        facts = json.loads((place / FACTS).read_text(encoding="utf-8"))["fold"]
        table = pd.read_csv(place / TABLES / "fold_sites.csv", keep_default_na=False)
        shown = table[list(_COLUMNS)].rename(columns=_COLUMNS)
        outcome = str(facts["refusal"] or facts["verdict"])
        measure, loss = str(facts["measure"]), float(facts["max_loss"])
        unit = str((facts.get("metric") or {"unit": "points"})["unit"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    words = (
        f"Gates that hardly move were replaced by their means and folded into neighbouring layers; allowed was a loss "
        f"of {f'{loss:g} {unit}'.rstrip()} of {measure} on held-out images.",
        f"{outcome[:1].upper()}{outcome[1:]}.",
    )
    return Folding(words, sites_table(shown))
