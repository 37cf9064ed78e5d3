"""Sections on what a run's folder holds beside its recording: effects, interventions, scale, folding and costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from se_probe.analysis.shifts import overall_shifts, scale_summary
from se_probe.figures import COST_FIGURES, EFFECT_FIGURES, SCALE_FIGURES
from se_probe.folding.export import export_sentence
from se_probe.recording.run_folder import COST_FACTS, FIGURES, JOINED_COST, JOINED_FOLD, JOINED_SCALE, TABLES
from se_probe.report.facts import run_facts
from se_probe.report.figures import known_figures
from se_probe.report.interventions import interventions_section
from se_probe.report.section import Section, sentence, sites_table, with_limits

_AGREEMENT_COLUMNS = ["site", "correlation", "slope", "rmse", "holds"]
_EFFECT_COLUMNS = ["site", "effect", "half_share", "correlation", "partial"]
_FOLD_COLUMNS = {"site": "site", "image_sd": "SD of its gates", "how": "Folded", "layers": "Into", "reason": "Why not"}
_COST_COLUMNS = [
    *("site", "channels", "branches", "reduction"),
    *("parameters", "formula_parameters", "squeeze", "excitation", "scale"),
]


def effects_section(folder: Path) -> Section | None:
    """Return the section on the effects of channels, None where they were not recorded."""
    tables = folder / TABLES
    if not (tables / "effect_agreement.csv").is_file():
        return None
    agreement = pd.read_csv(tables / "effect_agreement.csv")
    shown = agreement[_AGREEMENT_COLUMNS].rename(columns={"correlation": "agreement"})
    agreeing = int(agreement["holds"].sum())
    summary = f"First-order effects of channels agree with replacement at {agreeing} of {len(agreement)} sites"
    if agreeing and (tables / "effect_sites.csv").is_file():
        of_sites = pd.read_csv(tables / "effect_sites.csv")[_EFFECT_COLUMNS]
        shown = shown.merge(of_sites.rename(columns={"correlation": "effect_selectivity"}), on="site", how="left")
    if agreeing and (tables / "effect_overall.csv").is_file():
        half = pd.read_csv(tables / "effect_overall.csv")["half_share"].iloc[0]
        summary += f"; half of the effect is carried by {100 * half:.0f} % of a site's channels"
    shown["holds"] = shown["holds"].map({True: "yes", False: "no: not used"})
    words = (
        "The effect of a channel is the change of the answer if its gate were the mean gate of all classes: below 0 "
        "where the gate helps. It is the first term of a Taylor series, from one backward pass for all channels, and "
        "includes what the gate does to the gates of later sites.",
        f"It was compared with exact replacement of {agreement['channels'].iloc[0]} channels at every site in "
        f"{agreement['images'].iloc[0]} images: it holds at {agreeing} of {len(agreement)} sites. Effects of several "
        "channels add up to first order only.",
    )
    figures = known_figures(folder / FIGURES, EFFECT_FIGURES)
    return Section("effects", "Effects of channels", words, sites_table(shown), figures, (f"{summary}.",))


def scale_section(folder: Path) -> Section | None:
    """Return the section on the scale experiment that joined a run, None where there is none or it cannot be read."""
    joined = folder / JOINED_SCALE
    facts = run_facts(joined)
    try:
        tests = overall_shifts(pd.read_csv(joined / TABLES / "scale_tests.csv", dtype={"kernels": str}))
        summary = scale_summary(tests)
        factors = ", ".join(f"{float(factor):g}×" for factor in facts["scales"]["factors"])
        words = (
            f"The same images at {factors}, {facts['scales']['method']}; differences are taken image by image, every "
            "class with equal weight, and tested by flipping signs.",
            *map(sentence, facts["warnings"]),
            *summary.sentences,
        )
        table = sites_table(_scale_table(tests))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    figures = known_figures(joined / FIGURES, SCALE_FIGURES, folder)
    return Section("scale", "Scale", words, table, figures, summary.sentences[:1])


def _scale_table(tests: pd.DataFrame) -> pd.DataFrame:
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


def folding_section(folder: Path) -> Section | None:
    """Return the section on the run of `fold` that joined a run, None where there is none or it cannot be read."""
    joined = folder / JOINED_FOLD
    try:
        facts = run_facts(joined)["fold"]
        table = pd.read_csv(joined / TABLES / "fold_sites.csv", keep_default_na=False)
        shown = sites_table(table[list(_FOLD_COLUMNS)].rename(columns=_FOLD_COLUMNS))
        outcome = str(facts["refusal"] or facts["verdict"])
        measure, unit = str(facts["measure"]), str((facts.get("metric") or {"unit": "points"})["unit"])
        allowed = f"{float(facts['max_loss']):g} {unit}".rstrip()
        exported = export_sentence(facts["export"]) if "export" in facts else ""
    except (OSError, ValueError, KeyError, TypeError):
        return None
    words = (
        "Gates that hardly move were replaced by their means and folded into neighbouring layers; the largest "
        f"allowed loss was {allowed} of {measure} on held-out images.",
        *(sentence(text) for text in (outcome, exported) if text),
    )
    return Section("folding", "Folding", words, shown, summary=(f"Folding: {outcome}.",))


def cost_section(folder: Path) -> Section | None:
    """Return the section on the costs that were counted for a run, None where there are none or they cannot be read."""
    joined = folder / JOINED_COST
    facts = run_facts(joined, COST_FACTS)
    try:
        table = sites_table(pd.DataFrame(facts["sites"])[_COST_COLUMNS].dropna(axis="columns", how="all"))
        words, summary = tuple(map(sentence, facts["sentences"])), (str(facts["summary"]),)
    except (ValueError, KeyError, TypeError):
        return None
    return Section("cost", "Cost", words, table, known_figures(joined / FIGURES, COST_FIGURES, folder), summary)


SECTIONS: tuple[Callable[[Path], Section | None], ...] = (
    effects_section,
    interventions_section,
    scale_section,
    folding_section,
    cost_section,
)
"""In the order of the report."""


def read_sections(folder: Path) -> list[Section]:
    """Return the sections of the results that a run's folder holds."""
    return [section for read in SECTIONS if (section := read(folder)) is not None]
