"""The dictionary of channels on a page: word, effects, neighbours, factors and maps, with the evidence for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from se_probe.analysis.effects import AGREEMENT, OF_CLASSES
from se_probe.analysis.stats.neighbours import by_chance, neighbours
from se_probe.analysis.stats.states import STATIC_SD
from se_probe.analysis.words import DISCOVERY_RATE
from se_probe.gates import GateSite
from se_probe.gates.effects import OUTCOMES
from se_probe.recording import Recording
from se_probe.report.channel_maps import maps_data
from se_probe.report.page import MISSING, packed, packed_integers

WORDS, FACTORS = "channel_words.csv.gz", "channel_factors.csv.gz"
NEIGHBOURS = 4
CLASSES = 2
"""Number of classes listed that a channel helps most, and likewise hurts most."""
MOST_FACTORS = 3
_EVIDENCE = ("auc", "sibling_auc", "difference", "q")
_KEYS = ["branch", "channel"]
Floats = NDArray[np.float64]


def dictionary_data(recording: Recording, tables: Path) -> dict[str, Any]:
    """Return all that a run's tables say about each channel, as JSON-able values with packed numbers.

    Returns:
        `words`, `classes` and `factors`, the names that codes of the sites refer to; `outcome`, whose change an effect
        is; `maps`, see `maps_data`; and `sites`, in the order of the recording. Numbers of a site run over (branch,
        channel): `word`, 65535 for none, with `auc`, `sibling_auc`, `difference` and `q`; `neighbours`; `factors`;
        `effects`: the `CLASSES` that are helped most, then those that are hurt most, with the mean effect and half its
        interval, at a false-discovery rate of 5 %. A part that is not known is None.
    """
    words, factors = _table(tables / WORDS, "word"), _table(tables / FACTORS, "factor")
    effects, agreement = _table(tables / OF_CLASSES, "class"), _table(tables / AGREEMENT, "holds")
    unsuitable = set(agreement.loc[~agreement["holds"].astype(bool), "site"])
    columns = {"words": words["word"], "factors": factors["factor"], "classes": effects["class"]}
    names = {key: [str(name) for name in values.dropna().unique()] for key, values in columns.items()}
    first = recording.gates(recording.sites[0].name)
    positions = {int(image): position for position, image in enumerate(first["image"].to_numpy())}
    return {
        **names,
        "outcome": OUTCOMES.get(recording.effects.get("outcome", ""), "the answer"),
        "images": len(positions),
        "maps": maps_data(recording, tables, positions),
        "sites": [
            {
                "word": _words(words[words["site"] == site.name], site, names["words"]),
                "effects": _effects(effects[effects["site"] == site.name], site, names["classes"]),
                "factors": _factors(factors[factors["site"] == site.name], site, names["factors"]),
                "unsuitable": site.name in unsuitable,
                **_neighbours(recording, site),
            }
            for site in recording.sites
        ],
    }


def _table(path: Path, column: str) -> pd.DataFrame:
    return pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=["site", column])


def _columns(site: GateSite) -> pd.MultiIndex:
    return pd.MultiIndex.from_product([range(site.branches), range(site.channels)], names=_KEYS)


def _words(rows: pd.DataFrame, site: GateSite, names: list[str]) -> dict[str, Any] | None:
    if rows.empty:
        return None
    rows = rows.set_index(_KEYS).reindex(_columns(site))
    codes = pd.Index(names).get_indexer(pd.Index(rows["word"]))
    numbers = {name: packed(rows[name].to_numpy(dtype=np.float64)) for name in _EVIDENCE}
    return {"codes": packed_integers(np.where(codes < 0, MISSING, codes)), **numbers}


def _effects(rows: pd.DataFrame, site: GateSite, names: list[str]) -> dict[str, Any] | None:
    if rows.empty:
        return None
    mean, low, high, q = (_wide(rows, "class", name, site, names) for name in ("mean", "ci_low", "ci_high", "q"))
    known = q <= DISCOVERY_RATE
    codes = np.concatenate([_largest(np.where(known, sign * mean, 0), CLASSES) for sign in (-1, 1)], axis=1)
    return {
        "codes": packed_integers(codes),
        "mean": packed(_at(mean, codes)),
        "half": packed(_at((high - low) / 2, codes)),
    }


def _factors(rows: pd.DataFrame, site: GateSite, names: list[str]) -> dict[str, Any] | None:
    if rows.empty:
        return None
    share, q = (_wide(rows, "factor", name, site, names) for name in ("share", "q"))
    codes = _largest(np.where(q <= DISCOVERY_RATE, share, 0), MOST_FACTORS)
    return {"codes": packed_integers(codes), "share": packed(_at(share, codes))}


def _neighbours(recording: Recording, site: GateSite) -> dict[str, Any]:
    """The channels of the same branch whose gates correlate most with each channel's, and what chance reaches."""
    gates = recording.gates(site.name).to_numpy().reshape(-1, site.branches, site.channels)
    found = [neighbours(gates[:, branch], NEIGHBOURS, least_sd=STATIC_SD) for branch in range(site.branches)]
    codes, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
    moving = int((gates.std(axis=0) >= STATIC_SD).sum(axis=1).max())
    return {
        "neighbours": {"codes": packed_integers(np.where(codes < 0, MISSING, codes)), "r": packed(values)},
        "byChance": round(by_chance(len(gates), moving), 4),
    }


def _wide(rows: pd.DataFrame, over: str, column: str, site: GateSite, names: list[str]) -> Floats:
    """A column of numbers as `(branch and channel, name)`."""
    wide = rows.pivot_table(index=_KEYS, columns=over, values=column, sort=False)
    return wide.reindex(index=_columns(site), columns=names).to_numpy(dtype=np.float64)


def _largest(values: Floats, count: int) -> NDArray[np.int64]:
    """Indices of the largest positive values of each row, `MISSING` where there are fewer."""
    filled = np.pad(np.nan_to_num(values), ((0, 0), (0, count)))
    order = np.argsort(-filled, axis=1, kind="stable")[:, :count]
    return np.where(np.take_along_axis(filled, order, axis=1) > 0, order, MISSING)


def _at(values: Floats, codes: NDArray[np.int64]) -> Floats:
    """Values at indices, NaN where one is `MISSING`."""
    padded = np.pad(values, ((0, 0), (0, 1)), constant_values=np.nan)
    return np.take_along_axis(padded, np.minimum(codes, values.shape[1]), axis=1)
