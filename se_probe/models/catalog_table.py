"""What is known of architectures' gates: the table in the package, and the user's cache beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import timm
import torchvision

from se_probe.io.cache import cache_folder

# Gates by family, none for a network without gates, or why it could not be examined.
Findings = dict[str, int] | str

_TABLE = "catalog.json"


def read_tables() -> dict[str, Findings]:
    """Return what the package and the user's cache know, the package's word first."""
    return {**_read_cache(), **read_shipped()}


def read_shipped() -> dict[str, Findings]:
    """Return what the table in the package knows."""
    text = files("se_probe.models").joinpath(_TABLE).read_text("utf-8")
    networks: dict[str, Findings] = json.loads(text)["networks"]
    return networks


def write_cache(table: Mapping[str, Findings]) -> None:
    """Keep the table in the user's cache, whole or not at all."""
    # A cache that cannot be written costs the next listing some time, and nothing else.
    with suppress(OSError):
        write_table(cache_file(), table)


def write_table(path: Path, table: Mapping[str, Findings]) -> None:
    """Write a table with the versions it was made with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"  {json.dumps(spec)}: {json.dumps(table[spec])}" for spec in sorted(table)]
    text = f'{{"versions": {json.dumps(_versions())}, "networks": {{\n' + ",\n".join(lines) + "\n}}\n"
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def cache_file() -> Path:
    """Return the place of the user's cache of examined networks."""
    return cache_folder() / _TABLE


def _read_cache() -> dict[str, Findings]:
    try:
        content = json.loads(cache_file().read_text("utf-8"))
        # Other versions may build other networks under a name, or examine them better.
        networks: dict[str, Findings] = content["networks"] if content["versions"] == _versions() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return networks


def _versions() -> dict[str, str]:
    return {
        "se-probe": version("se-probe"),
        "timm": timm.__version__,
        "torchvision": torchvision.__version__.partition("+")[0],
    }
