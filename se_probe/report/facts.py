"""Description of a run: a summary in words, and the provenance that the recording stores."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from se_probe.recording import Recording


@dataclass(frozen=True)
class ClassFacts:
    """A chosen class: its number of images, and the network's top-1 accuracy on them."""

    name: str
    index: int | None
    wnid: str | None
    images: int
    correct: float | None


def channels_in_all(recording: Recording) -> int:
    """Return the number of gate values per image, over all sites."""
    return sum(site.channels * site.branches for site in recording.sites)


def chosen_classes(recording: Recording) -> list[ClassFacts]:
    """Return the chosen classes that were seen, in the order in which they were asked for."""
    rows = {row["name"]: row for row in recording.classes.to_dict("records")}
    return [_class_facts(rows[name], recording.images) for name in recording.chosen if name in rows]


def _class_facts(row: Mapping[Hashable, Any], images: pd.DataFrame) -> ClassFacts:
    index = None if pd.isna(row["index"]) else int(row["index"])
    own = images[images["class"] == row["name"]]
    return ClassFacts(row["name"], index, row["wnid"] or None, int(row["images"]), _correct(own))


def _correct(images: pd.DataFrame) -> float | None:
    known = images.dropna(subset=["class_index", "predicted_index"])
    return float((known["class_index"] == known["predicted_index"]).mean()) if len(known) else None


def flat_facts(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return every fact of a nested provenance as its path, such as `model.preprocessing.mean`, and its value."""
    return list(_flat(provenance, ""))


def _flat(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        yield path, ", ".join(str(item) for item in value) or "none"
    else:
        yield path, _plain(value)


def _plain(value: object) -> str:
    if value is None or value == {}:
        return "none"
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def requirements(provenance: Mapping[str, Any]) -> str:
    """Return the libraries of the run as pip takes them."""
    return " ".join(f"{name}=={number}" for name, number in provenance["versions"].items() if name != "python")
