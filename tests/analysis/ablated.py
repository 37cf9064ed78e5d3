"""Ablations made of raw outcomes with planted effects, and the drop of NLL that each site is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import pandas as pd
import xarray as xr

SITES = ("SE_2_1", "SE_2_2", "SE_3_1", "SE_3_2", "SE_4_1", "SE_4_2", "SE_5_1", "SE_5_2")
CLEAN_LOSS = 0.3
"""Share of images that the untouched network gets wrong."""


@dataclass
class Ablation:
    interventions: pd.DataFrame
    images: pd.DataFrame
    outcomes: xr.Dataset
    provenance: Mapping[str, object] = field(default_factory=lambda: {"gates_from": "reports/net/recording.zarr"})
    demo: bool = False


def stage_of(site: str) -> str:
    return site.split("_")[1]


def standard_interventions(sites: Sequence[str] = SITES, replacement: str = "mean") -> list[tuple[str, str, str, str]]:
    """Each site alone, cumulative from the last backwards, and whole stages."""
    alone = [(site, "site", site, replacement) for site in sites]
    ends = [",".join(sites[place:]) for place in reversed(range(len(sites) - 1))]
    onwards = [(f"from {names.split(',')[0]}", "cumulative", names, replacement) for names in ends]
    stages = [
        (f"stage {stage}", "stage", ",".join(members), replacement) for stage, members in groupby(sites, key=stage_of)
    ]
    return [*alone, *onwards, *stages]


def from_outcomes(
    rows: Sequence[tuple[str, str, str, str]], classes: Sequence[str], *, labelled=None, indices=None, **outcomes
) -> Ablation:
    """An ablation of given outcomes: `top1`, `top5`, `nll`, `kl`, `agree`, and `clean_…`, as arrays."""
    size = len(classes)
    names = list(dict.fromkeys(classes))
    known = np.ones(size, dtype=bool) if labelled is None else np.asarray(labelled)
    places = pd.array([names.index(name) for name in classes], dtype="Int64") if indices is None else indices
    images = pd.DataFrame({"path": [f"{place}.png" for place in range(size)], "class": classes, "class_index": places})
    dims = {name: ("image",) if name.startswith("clean") else ("intervention", "image") for name in outcomes}
    data = {name: (dims[name], np.asarray(values)) for name, values in outcomes.items()}
    dataset = xr.Dataset(data, coords={"labelled": ("image", known)})
    return Ablation(pd.DataFrame(rows, columns=["name", "scope", "sites", "replacement"]), images, dataset)


def planted(
    worth: Mapping[str, float],
    *,
    classes: int = 10,
    images: int = 30,
    replacement: str = "mean",
    spread: float = 0.1,
    rows: Sequence[tuple[str, str, str, str]] | None = None,
    hurt: Mapping[str, float] | None = None,
    long_names: bool = False,
    seed: int = 0,
) -> Ablation:
    """Each site replaced raises the NLL of an image by its `worth` on average, and turns that share of answers wrong.

    Effects of several sites add up. `hurt` multiplies the effects on a class. `spread` is the standard deviation of
    the rise over images, as a multiple of the effect and at least of 0.01.
    """
    rng = np.random.default_rng(seed)
    rows = standard_interventions(list(worth), replacement) if rows is None else rows
    names = [f"class{k}, a kind of many-worded creature" if long_names else f"class{k}" for k in range(classes)]
    labels = np.repeat(names, images)
    weight = np.array([(hurt or {}).get(name, 1.0) for name in labels])
    size = len(labels)
    clean_top1 = rng.random(size) >= CLEAN_LOSS
    clean_top5 = clean_top1 | (rng.random(size) < 0.7)
    clean_nll = rng.gamma(2.0, 0.4, size)
    own = {site: rng.normal(0, 1, size) for site in worth}
    falls = {site: rng.random(size) < effect * weight for site, effect in worth.items()}
    top1, top5, nll = [], [], []
    for _, _, sites, _ in rows:
        members = sites.split(",")
        rise = sum(worth[site] * weight + spread * max(worth[site], 0.01) * own[site] for site in members)
        fall = np.logical_or.reduce([falls[site] for site in members])
        top1.append(clean_top1 & ~fall)
        top5.append(clean_top5 & ~(fall & (rng.random(size) < 0.5)))
        nll.append(clean_nll + rise)
    change = np.array(nll) - clean_nll
    ablation = from_outcomes(
        rows,
        list(labels),
        top1=top1,
        top5=top5,
        nll=nll,
        kl=change**2,
        agree=np.array(top1) == clean_top1,
        clean_top1=clean_top1,
        clean_top5=clean_top5,
        clean_nll=clean_nll,
    )
    return ablation
