"""The catalog of pretrained networks with gates in timm and torchvision.

The counts of gates come from a table in the package, which `tools/catalog_build.py` makes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files

import timm
import torchvision
from torchvision.models import get_model_weights

# Number of gates by family (empty without gates), or why the network could not be examined.
Examined = Mapping[str, int] | str

_NEWER = "it is newer than the table in the package; se-probe gates NAME examines it"


@dataclass(frozen=True)
class CatalogEntry:
    """A pretrained network with gates: its name for `load_model`, its weight tags, the number of gates by family."""

    spec: str
    weights: tuple[str, ...]
    families: Mapping[str, int]

    @property
    def gates(self) -> int:
        """Number of gates."""
        return sum(self.families.values())

    @property
    def family(self) -> str:
        """The families of the gates, the most frequent first, joined by " + "."""
        return " + ".join(sorted(self.families, key=lambda family: -self.families[family]))


@dataclass(frozen=True)
class Catalog:
    """The networks with gates that match a pattern, the number of those without, and why others were not examined."""

    entries: tuple[CatalogEntry, ...]
    without_gates: int
    unexamined: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Catalog({len(self.entries)} networks with gates, {self.without_gates} without)"


def catalog(pattern: str | None = None) -> Catalog:
    """Return the pretrained networks with gates whose name matches `pattern`, all of them by default.

    Args:
        pattern: a part of the name; with `*`, `?` or `[` in it, a shell pattern for the whole name.
    """
    known = {spec: tags for spec, tags in pretrained_networks().items() if matches(pattern, spec, tags)}
    table = shipped_table()
    entries, unexamined = [], {}
    for spec, tags in known.items():
        gates = table.get(spec, _NEWER)
        if isinstance(gates, str):
            unexamined[spec] = gates
        elif gates:
            entries.append(CatalogEntry(spec, tags, gates))
    return Catalog(tuple(entries), len(known) - len(entries) - len(unexamined), unexamined)


def shipped_table() -> dict[str, Examined]:
    """Return the gates of each network in the package's table."""
    table: dict[str, dict[str, Examined]] = json.loads(files("se_probe.models").joinpath("catalog.json").read_bytes())
    return table["networks"]


def pretrained_networks() -> dict[str, tuple[str, ...]]:
    """Return the specs of all pretrained networks of timm and torchvision, with their weight tags."""
    networks: dict[str, tuple[str, ...]] = {}
    for name in timm.list_models(pretrained=True):
        architecture, _, tag = name.partition(".")
        networks[architecture] = (*networks.get(architecture, ()), *([tag] if tag else []))
    for name in torchvision.models.list_models(module=torchvision.models):
        networks[f"torchvision:{name}"] = tuple(weights.name for weights in get_model_weights(name))
    return networks


def matches(pattern: str | None, spec: str, tags: tuple[str, ...]) -> bool:
    """Return whether a pattern matches a network's spec, bare name or name with a tag."""
    if pattern is None:
        return True
    wanted = pattern.lower()
    names = [spec, spec.partition(":")[2], *(f"{spec}.{tag}" for tag in tags)]
    if set(wanted) & set("*?["):
        return any(fnmatchcase(name.lower(), wanted) for name in names)
    return any(wanted in name.lower() for name in names)
