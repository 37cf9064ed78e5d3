"""The section on scale: where attention or gates move when the same images are enlarged."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from se_probe.analysis.shifts import overall_shifts, scale_summary
from se_probe.figures import SCALE_FIGURES
from se_probe.recording.run_folder import FACTS, JOINED_SCALE, TABLES
from se_probe.report.figures import joined_figures
from se_probe.report.section import Section, sites_table
from se_probe.report.study import with_limits


def scale_section(folder: Path) -> Section | None:
    """Return the section on the scale experiment that joined a run, None where there is none or it cannot be read."""
    place = folder / JOINED_SCALE
    try:
        facts = json.loads((place / FACTS).read_text(encoding="utf-8"))
        tests = overall_shifts(pd.read_csv(place / TABLES / "scale_tests.csv", dtype={"kernels": str}))
        told = scale_summary(tests)
        factors = ", ".join(f"{float(factor):g}×" for factor in facts["scales"]["factors"])
        words = (
            f"The same images at {factors}, {facts['scales']['method']}; differences are taken image by image, every "
            "class with equal weight, and tested by flipping signs.",
            *(f"{line[:1].upper()}{line[1:]}." for line in facts["warnings"]),
            *told.sentences,
        )
        table = sites_table(_table(tests))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    figures = joined_figures(place, SCALE_FIGURES)
    return Section("scale", "Scale", words, table, figures, told.sentences[:1])


def _table(tests: pd.DataFrame) -> pd.DataFrame:
    rows = tests.to_dict("records")
    risen = tests["classes_risen"].map("{:g}".format) + " of " + tests["classes"].astype(str)
    table = pd.DataFrame(
        {
            "site": tests["site"],
            "What moves": tests["quantity"],
            "Kernels": tests["kernels"],
            "Verdict": tests["verdict"],
            "Shift, gate units": [with_limits(row["effect"], row["ci_low"], row["ci_high"], "+z.3f") for row in rows],
            "p (Holm)": tests["p_holm"],
            "SD over images": tests["sd"],
            "Classes that rose": risen.where(tests["classes_risen"].notna(), "–"),
        }
    )
    return table.dropna(axis="columns", how="all").fillna({"Kernels": "–"})
