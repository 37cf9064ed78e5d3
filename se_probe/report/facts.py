"""Facts of a run for a page: its provenance, classes and measures."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from se_probe.analysis.health import site_health
from se_probe.analysis.specificity import channel_specificity, site_decodability, site_specificity
from se_probe.recording import Recording
from se_probe.recording.run_folder import FACTS

_MEASURES = {
    "site_specificity.csv": site_specificity,
    "site_health.csv": site_health,
    "site_decodability.csv": site_decodability,
    "channel_specificity.csv.gz": channel_specificity,
}
# Columns of the table of sites, by the table that they come from.
_SHOWN = {
    "site_specificity.csv": (
        *("verdict", "between_class_sd", "within_class_sd", "omega_squared", "omega_interval", "significant_share"),
    ),
    "site_health.csv": ("mean_gate", "dynamic", "open", "closed", "entropy", "effective_rank"),
    "site_decodability.csv": ("accuracy", "chance"),
}


def run_facts(folder: Path, name: str = FACTS) -> dict[str, Any]:
    """Return the content of the JSON file `name` in a folder, empty if it is missing or damaged."""
    try:
        facts = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def chosen_classes(recording: Recording) -> list[dict[Hashable, Any]]:
    """Return rows of the chosen classes that were seen, in their given order, with top-1 accuracy as `correct`."""
    known = recording.images.dropna(subset=["class_index", "predicted_index"])
    correct = (known["class_index"] == known["predicted_index"]).groupby(known["class"]).mean()
    classes = recording.classes.set_index("name").assign(correct=correct)
    rows = classes.loc[[name for name in recording.chosen if name in classes.index]].reset_index().astype(object)
    return rows.where(rows.notna(), None).to_dict("records")


def flat_facts(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return every fact of a nested provenance as its path, such as `model.preprocessing.mean`, and its value."""
    return list(_flat(provenance, ""))


def _flat(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        yield path, ", ".join(str(item) for item in value) or "none"
    elif isinstance(value, bool):
        yield path, "yes" if value else "no"
    else:
        yield path, "none" if value is None or value == {} else str(value)


def requirements(provenance: Mapping[str, Any]) -> str:
    """Return the libraries of the run as requirements for pip."""
    return " ".join(f"{name}=={number}" for name, number in provenance["versions"].items() if name != "python")


def repeatable(recording: Recording) -> dict[str, Any]:
    """Return what is needed to repeat a run: its provenance, nested and flat, and its libraries."""
    provenance = recording.provenance
    return {"provenance": provenance, "facts": flat_facts(provenance), "requirements": requirements(provenance)}


def run_measures(recording: Recording, tables: Path) -> dict[str, pd.DataFrame]:
    """Return the tables that a report needs by their file names, computing those that the folder lacks.

    A table of an older version, with other column names, is computed again.

    Raises:
        SeProbeError: the recording has no image of any chosen class.
    """
    stored = {name: pd.read_csv(tables / name) for name in _MEASURES if (tables / name).is_file()}
    return {
        name: stored[name] if name in stored and "between_class_sd" in stored[name] else measure(recording)
        for name, measure in _MEASURES.items()
    }


def site_rows(recording: Recording, measures: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row per site, in network order: what it is, and its measures side by side."""
    facts = pd.DataFrame([site.to_dict() for site in recording.sites]).rename(columns={"name": "site"})
    facts = facts[["site", "module", "family", "channels", "branches", "activation", "reduction"]]
    for name, columns in _SHOWN.items():
        table = measures[name]
        if "omega_interval" in columns:
            table = table.assign(omega_interval=interval_texts(table, ""))
        facts = facts.merge(table[["site", *columns]], on="site", how="left", validate="one_to_one")
    return facts.dropna(axis="columns", how="all")


def interval_texts(table: pd.DataFrame, prefix: str) -> list[str]:
    """Return the interval of each row in words, from the columns `<prefix>ci_low` and `<prefix>ci_high`."""
    limits = zip(table[f"{prefix}ci_low"], table[f"{prefix}ci_high"], strict=True)
    return ["–" if pd.isna(low) or pd.isna(high) else f"{low:z.2f} to {high:z.2f}" for low, high in limits]
