"""The section on cost: what gates add in parameters, operations and run time."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from se_probe.figures import COST_FIGURES
from se_probe.recording.run_folder import COST_FACTS, JOINED_COST
from se_probe.report.figures import joined_figures
from se_probe.report.section import Section, sites_table

_COLUMNS = [
    "site",
    "channels",
    "branches",
    "reduction",
    "parameters",
    "formula_parameters",
    "squeeze",
    "excitation",
    "scale",
]


def cost_section(folder: Path) -> Section | None:
    """Return the section on the costs that were counted for a run, None where there are none or they cannot be read."""
    place = folder / JOINED_COST
    try:
        facts = json.loads((place / COST_FACTS).read_text(encoding="utf-8"))
        table = sites_table(pd.DataFrame(facts["sites"])[_COLUMNS].dropna(axis="columns", how="all"))
        words = tuple(f"{line[:1].upper()}{line[1:]}." for line in facts["sentences"])
        told = str(facts["summary"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Section("cost", "Cost", words, table, joined_figures(place, COST_FIGURES), (told,))
