"""Data of the explorer: class means, scores of channels, and the images and channels that stand out."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from se_probe.analysis import class_statistics, reference_name, reference_statistics, select_classes
from se_probe.analysis.stats.states import STATIC_SD
from se_probe.figures.style import COLOURS, DASHES
from se_probe.gates import GateSite
from se_probe.recording import Recording
from se_probe.report.page import packed, packed_integers
from se_probe.report.thumbnails import Thumbnails
from se_probe.report.words import CATEGORIES, SORT_ORDERS, words_for

EXTREMES = 6
"""Images shown at either end of a channel."""
STANDING_OUT = 6
"""Channels listed for an image."""
OTHER_BYTES = 1_000_000
"""Of the page, for the means and standard deviations of classes that were not chosen."""
BYTES_A_CLASS = 16 / 3
"""For each gate: two 16-bit codes in base64."""
CONFIDENCE = 0.95

# The figures' colours for a dark background: the same hues, lighter where they would be hard to see.
ON_DARK = {"#0072B2": "#4DA6E0", "#009E73": "#2BC79B", "#D55E00": "#F5843C"}
REFERENCE_COLOURS = ("#1a1a1a", "#f2f2f2")


def explorer_data(recording: Recording, channel_rows: pd.DataFrame, thumbnails: Thumbnails) -> dict[str, Any]:
    """Return the explorer's data as JSON-able values with packed numbers (see `page.Packed`).

    Arrays of a site run over (class, branch, channel): the chosen classes, then all classes together where there is a
    reference, then the other classes, as many as `OTHER_BYTES` hold. Each branch and channel names the `EXTREMES`
    images with the highest and with the lowest gate, each image the `STANDING_OUT` channels in which it is furthest
    from the mean of all images.

    `channel_rows` has one row per `site`, `branch` and `channel`, with scores to sort by and categories
    (`words.SORT_ORDERS`, `words.CATEGORIES`).
    """
    scores = [name for name in SORT_ORDERS if name in channel_rows.columns]
    rows = dict(list(channel_rows.groupby("site", sort=False)))
    return {
        "classes": _classes(recording),
        "absent": len(recording.classes) - len(seen_classes(recording)) - len(other_classes(recording)),
        "images": _images(recording, thumbnails),
        "scores": {name: {"label": words_for(name).label, "menu": SORT_ORDERS[name]} for name in scores},
        "categories": {name: words_for(name).label for name in CATEGORIES if name in channel_rows.columns},
        "start": _most_telling(channel_rows) or recording.sites[0].name,
        "sites": [_site(recording, site, rows[site.name], scores) for site in recording.sites],
    }


def seen_classes(recording: Recording) -> list[str]:
    """Return the chosen classes that have images: all of them, unless the run was stopped."""
    seen = set(recording.classes["name"])
    return [name for name in recording.chosen if name in seen]


def other_classes(recording: Recording) -> list[str]:
    """Return the first of the classes that were seen but not chosen, as many as the page has room for."""
    gates = sum(site.channels * site.branches for site in recording.sites)
    others = [name for name in recording.classes["name"] if name not in set(recording.chosen)]
    return others[: int(OTHER_BYTES / (BYTES_A_CLASS * gates))]


def has_reference(recording: Recording) -> bool:
    """Return whether images of classes that were not chosen were recorded."""
    return bool(recording.provenance["data"]["reference_per_class"])


def chosen_images(recording: Recording) -> pd.DataFrame:
    """Return the images whose gates are kept, in the order of the gates."""
    first = recording.gates(recording.sites[0].name)
    return recording.images.loc[first["image"].values]


def _most_telling(channel_rows: pd.DataFrame) -> str | None:
    """The site whose class means differ most, where that is known."""
    if "between_class_sd" not in channel_rows or channel_rows["between_class_sd"].isna().all():
        return None
    return str(channel_rows.groupby("site", sort=False)["between_class_sd"].mean().idxmax())


def _classes(recording: Recording) -> list[dict[str, Any]]:
    counts = dict(zip(recording.classes["name"], recording.classes["images"], strict=True))
    chosen, others = seen_classes(recording), other_classes(recording)
    entries: list[dict[str, Any]] = []
    for index, name in enumerate([*chosen, *others]):
        images = int(counts[name])
        factor = float(stats.t.ppf((1 + CONFIDENCE) / 2, max(images - 1, 1))) / images**0.5
        entries.append({"name": name, "images": images, "factor": factor, "chosen": name in chosen, **_look(index)})
    if has_reference(recording):
        light, dark = REFERENCE_COLOURS
        name, images = reference_name(len(counts)), int(sum(counts.values()))
        look = {"light": light, "dark": dark, "dashed": True}
        entries.insert(len(chosen), {"name": name, "images": images, "factor": None, "chosen": True, **look})
    return entries


def _look(index: int) -> dict[str, Any]:
    """Colour and dashes of a class, as in the figures."""
    colour = COLOURS[index % len(COLOURS)]
    return {"light": colour, "dark": ON_DARK.get(colour, colour), "dashed": index // len(COLOURS) % len(DASHES) == 1}


def _images(recording: Recording, thumbnails: Thumbnails) -> list[dict[str, Any]]:
    table = chosen_images(recording)
    codes = {name: index for index, name in enumerate(seen_classes(recording))}
    rows = zip(table["path"], table["class"], _standing_out(recording), strict=True)
    return [
        {
            "path": path,
            "class": codes[name],
            "channels": channels,
            "picture": b64encode(thumbnails.pictures[path]).decode("ascii") if path in thumbnails.pictures else None,
        }
        for path, name, channels in rows
    ]


def _standing_out(recording: Recording) -> list[list[tuple[int, int, float, float]]]:
    """Return for each image the channels in which its gate is furthest from the mean of these images.

    Each is (index of the site, column over branches and channels, gate, distance in standard deviations over images).
    Channels that hardly move are left out.
    """
    images = len(chosen_images(recording))
    found = np.zeros((images, 0, 4))
    for index, site in enumerate(recording.sites):
        gates = recording.gates(site.name).values.reshape(images, -1).astype(np.float64)
        spread = gates.std(axis=0)
        distance = np.where(spread >= STATIC_SD, (gates - gates.mean(axis=0)) / np.maximum(spread, STATIC_SD), 0)
        columns = np.argsort(-np.abs(distance), axis=1, kind="stable")[:, :STANDING_OUT]
        values = [np.take_along_axis(each, columns, axis=1) for each in (gates, distance)]
        found = np.concatenate([found, np.stack([np.full(columns.shape, index), columns, *values], axis=2)], axis=1)
        best = np.argsort(-np.abs(found[:, :, 3]), axis=1, kind="stable")[:, :STANDING_OUT]
        found = np.take_along_axis(found, best[:, :, None], axis=1)
    return [
        [(int(site), int(at), round(gate, 4), round(far, 2)) for site, at, gate, far in rows if far]
        for rows in found.tolist()
    ]


def _site(recording: Recording, site: GateSite, rows: pd.DataFrame, scores: Sequence[str]) -> dict[str, Any]:
    curves = _curves(recording, site)
    reference_half = None
    if has_reference(recording):
        error = curves["standard_error"].isel({"class": len(seen_classes(recording))})
        reference_half = packed(float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * error.values)
    extents = [f" (extent {kernel})" for kernel in site.kernels or ()] or [""] * site.branches
    gates = recording.gates(site.name).values.reshape(-1, site.branches * site.channels)
    extremes = extreme_images(gates)
    rows = rows.sort_values(["branch", "channel"])
    facts = ("name", "module", "family", "stage", "activation", "bounded", "channels")
    return {
        **{name: getattr(site, name) for name in facts},
        "branches": [f"branch {branch}{extent}" for branch, extent in enumerate(extents)],
        "mean": packed(curves["mean"].values),
        "sd": packed(np.sqrt(curves["variance"].values)),
        "referenceHalf": reference_half,
        "categories": {name: _categories(rows[name]) for name in CATEGORIES if name in rows},
        "scores": {name: packed(rows[name].to_numpy(dtype=np.float64)) for name in scores},
        "extremeImages": packed_integers(extremes),
        "extremeValues": packed(np.take_along_axis(gates.T, extremes, axis=1)),
        "extremeCount": extremes.shape[1] // 2,
    }


def _categories(values: pd.Series[Any]) -> dict[str, object]:
    codes, names = pd.factorize(values.astype(str))
    return {"names": [str(name) for name in names], "data": packed_integers(codes)}


def _curves(recording: Recording, site: GateSite) -> xr.Dataset:
    """Return statistics, (class, [branch,] channel), of the chosen classes, all classes together, and the others."""
    moments = recording.moments(site.name).compute()
    chosen, others = seen_classes(recording), other_classes(recording)
    parts = [class_statistics(select_classes(moments, names)) for names in (chosen, others) if names]
    if has_reference(recording):
        parts.insert(1, reference_statistics(moments))
    return xr.concat(parts, dim="class").transpose("class", ..., "channel")


def extreme_images(gates: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return for each column of gates (image, column) the `EXTREMES` highest images, highest first, then the lowest."""
    order = np.argsort(gates, axis=0, kind="stable")
    count = min(EXTREMES, len(order))
    return np.concatenate([order[::-1][:count], order[:count]]).T
