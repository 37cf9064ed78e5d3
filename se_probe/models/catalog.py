"""The catalog of pretrained networks with gates that timm and torchvision know, without downloading anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import timm
import torchvision
from torchvision.models import get_model_weights

from se_probe.models.catalog_table import Findings, read_tables, write_cache
from se_probe.models.examination import examine

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class CatalogEntry:
    """A pretrained network with gates: `spec` is what `load_model` takes, `weights` the known weight tags.

    `families` counts the gates of each family.
    """

    spec: str
    weights: tuple[str, ...]
    families: Mapping[str, int]

    @property
    def gates(self) -> int:
        """How many gates the network has."""
        return sum(self.families.values())

    @property
    def family(self) -> str:
        """The families of the gates, the most frequent first, joined by " + "."""
        return " + ".join(sorted(self.families, key=lambda family: -self.families[family]))


@dataclass(frozen=True)
class Catalog:
    """What a search found: `entries` have gates, `without_gates` counts the others.

    `unexamined` names those that could not be examined, each with the reason.
    """

    entries: tuple[CatalogEntry, ...]
    without_gates: int
    unexamined: Mapping[str, str]


def catalog(pattern: str | None = None, *, progress: Progress | None = None) -> Catalog:
    """Return the pretrained networks with gates whose name matches `pattern`, all of them by default.

    `pattern` is a part of the name, or with `*`, `?` or `[` in it a shell pattern for the whole of it. Networks
    that the shipped table does not know (those of a newer timm or torchvision) are built without
    memory or weights, examined and remembered in the user's cache; `progress` is then called with
    how many are done, of how many, and the name of the next.
    """
    known = {spec: tags for spec, tags in pretrained_networks().items() if matches(pattern, spec, tags)}
    table = _completed(known, progress)
    found = {spec: table[spec] for spec in known}
    return Catalog(
        tuple(
            CatalogEntry(spec, known[spec], kinds)
            for spec, kinds in found.items()
            if kinds and not isinstance(kinds, str)
        ),
        sum(not kinds for kinds in found.values()),
        {spec: reason for spec, reason in found.items() if isinstance(reason, str)},
    )


def pretrained_networks() -> dict[str, tuple[str, ...]]:
    """Return the specs of all pretrained networks of timm and torchvision with the names of their weights."""
    networks: dict[str, tuple[str, ...]] = {}
    for name in timm.list_models(pretrained=True):
        architecture, _, tag = name.partition(".")
        networks[architecture] = (*networks.get(architecture, ()), *([tag] if tag else []))
    for name in torchvision.models.list_models(module=torchvision.models):
        networks[f"torchvision:{name}"] = tuple(weights.name for weights in get_model_weights(name))
    return networks


def matches(pattern: str | None, spec: str, tags: tuple[str, ...]) -> bool:
    """Return whether a pattern means this network, by its spec, its bare name or its name with a tag."""
    if pattern is None:
        return True
    wanted = pattern.lower()
    names = [spec, spec.partition(":")[2], *(f"{spec}.{tag}" for tag in tags)]
    if set(wanted) & set("*?["):
        return any(fnmatchcase(name.lower(), wanted) for name in names)
    return any(wanted in name.lower() for name in names)


def _completed(specs: Mapping[str, object], progress: Progress | None) -> dict[str, Findings]:
    """Return the table with the missing networks examined, and keep those for the next time."""
    table = read_tables()
    missing = [spec for spec in specs if spec not in table]
    for done, spec in enumerate(missing):
        if progress is not None:
            progress(done, len(missing), spec)
        table[spec] = examine(spec)
    if missing:
        write_cache(table)
    return table
