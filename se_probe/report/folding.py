"""The section on folding: which gates became constants, what that costs, and why others stay."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from se_probe.folding.export import export_sentence
from se_probe.recording.run_folder import FACTS, JOINED_FOLD, TABLES
from se_probe.report.section import Section, sites_table

_COLUMNS = {"site": "site", "image_sd": "SD of its gates", "how": "Folded", "layers": "Into", "reason": "Why not"}


def folding_section(folder: Path) -> Section | None:
    """Return the section on the run of `fold` that joined a run, None where there is none or it cannot be read."""
    place = folder / JOINED_FOLD
    try:
        facts = json.loads((place / FACTS).read_text(encoding="utf-8"))["fold"]
        table = pd.read_csv(place / TABLES / "fold_sites.csv", keep_default_na=False)
        shown = sites_table(table[list(_COLUMNS)].rename(columns=_COLUMNS))
        outcome = str(facts["refusal"] or facts["verdict"])
        measure, unit = str(facts["measure"]), str((facts.get("metric") or {"unit": "points"})["unit"])
        allowed = f"{float(facts['max_loss']):g} {unit}".rstrip()
        exported = export_sentence(facts["export"]) if "export" in facts else ""
    except (OSError, ValueError, KeyError, TypeError):
        return None
    words = (
        "Gates that hardly move were replaced by their means and folded into neighbouring layers; allowed was a loss "
        f"of {allowed} of {measure} on held-out images.",
        *(f"{sentence[:1].upper()}{sentence[1:]}." for sentence in (outcome, exported) if sentence),
    )
    return Section("folding", "Folding", words, shown, summary=(f"Folding: {outcome}.",))
