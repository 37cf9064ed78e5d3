"""The numbers behind the explorer: class-mean curves, scores of channels, and which images move a channel most."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from se_probe.analysis import class_statistics, reference_name, reference_statistics, select_classes
from se_probe.figures.style import COLOURS, DASHES
from se_probe.gates import GateSite
from se_probe.recording import Recording
from se_probe.report.encoding import packed, packed_integers
from se_probe.report.thumbnails import Thumbnails
from se_probe.report.words import CATEGORIES, SORT_ORDERS, words_for

EXTREMES = 6
"""Images shown at either end of a channel."""
CONFIDENCE = 0.95
KEYS = ("site", "branch", "channel")

# The colours of the figures on a dark ground: the same hues, lighter where they would sink into it.
ON_DARK = {"#0072B2": "#4DA6E0", "#009E73": "#2BC79B", "#D55E00": "#F5843C"}
REFERENCE_COLOURS = ("#1a1a1a", "#f2f2f2")


def explorer_data(recording: Recording, channel_rows: pd.DataFrame, thumbnails: Thumbnails) -> dict[str, Any]:
    """Return all that the explorer shows, as JSON-able values with numbers packed (see `encoding.Packed`).

    `channel_rows` has the columns `site`, `branch` and `channel`, and columns for scores that channels can be
    sorted by and for what they are called (`words.SORT_ORDERS`, `words.CATEGORIES`). Arrays of a site run over
    (class, branch, channel); the last class is all classes together, where there is a reference. For each branch
    and channel, `EXTREMES` images with the highest and with the lowest gate are named.
    """
    scores = [name for name in SORT_ORDERS if name in channel_rows.columns]
    rows = dict(list(channel_rows.groupby("site", sort=False)))
    return {
        "classes": _classes(recording),
        "images": _images(recording, thumbnails),
        "scores": {name: {"label": words_for(name).label, "menu": SORT_ORDERS[name]} for name in scores},
        "categories": {name: words_for(name).label for name in CATEGORIES if name in channel_rows.columns},
        "start": _most_telling(channel_rows) or recording.sites[0].name,
        "sites": [_site(recording, site, rows[site.name], scores) for site in recording.sites],
    }


def seen_classes(recording: Recording) -> list[str]:
    """Return the chosen classes of which there are images: all of them, save where the run was stopped."""
    seen = set(recording.classes["name"])
    return [name for name in recording.chosen if name in seen]


def has_reference(recording: Recording) -> bool:
    """Return whether images of other classes than the chosen ones were seen."""
    return bool(recording.provenance["data"]["reference_per_class"])


def chosen_images(recording: Recording) -> pd.DataFrame:
    """Return the images whose gates are kept, in the order of the gates."""
    first = recording.gates(recording.sites[0].name)
    return recording.images.loc[first["image"].values]


def _most_telling(channel_rows: pd.DataFrame) -> str | None:
    """The site whose class means differ most, where that is known."""
    if "between_class_sd" not in channel_rows.columns or channel_rows["between_class_sd"].isna().all():
        return None
    return str(channel_rows.groupby("site", sort=False)["between_class_sd"].mean().idxmax())


def _classes(recording: Recording) -> list[dict[str, Any]]:
    counts = dict(zip(recording.classes["name"], recording.classes["images"], strict=True))
    entries = [
        {"name": name, "images": int(counts[name]), **_look(index)}
        for index, name in enumerate(seen_classes(recording))
    ]
    if has_reference(recording):
        light, dark = REFERENCE_COLOURS
        name, images = reference_name(len(counts)), int(sum(counts.values()))
        entries.append({"name": name, "images": images, "light": light, "dark": dark, "dashed": True})
    return entries


def _look(index: int) -> dict[str, Any]:
    """Colour and dashes of a class, as in the figures."""
    colour = COLOURS[index % len(COLOURS)]
    return {"light": colour, "dark": ON_DARK.get(colour, colour), "dashed": index // len(COLOURS) % len(DASHES) == 1}


def _images(recording: Recording, thumbnails: Thumbnails) -> list[dict[str, Any]]:
    table = chosen_images(recording)
    places = {name: index for index, name in enumerate(seen_classes(recording))}
    return [
        {
            "path": path,
            "class": places[name],
            "picture": b64encode(thumbnails.pictures[path]).decode("ascii") if path in thumbnails.pictures else None,
        }
        for path, name in zip(table["path"], table["class"], strict=True)
    ]


def _site(recording: Recording, site: GateSite, rows: pd.DataFrame, scores: Sequence[str]) -> dict[str, Any]:
    curves = _curves(recording, site)
    ordered = rows.sort_values(list(KEYS[1:]))
    return {
        "name": site.name,
        "module": site.module,
        "family": site.family,
        "stage": site.stage,
        "activation": site.activation,
        "bounded": site.bounded,
        "channels": site.channels,
        "branches": [_branch_name(site, branch) for branch in range(site.branches)],
        "mean": packed(curves["mean"].values),
        "sd": packed(np.sqrt(curves["variance"].values)),
        "halfInterval": packed(curves["half_interval"].values),
        "categories": {name: _categories(ordered[name]) for name in CATEGORIES if name in rows.columns},
        "scores": {name: packed(ordered[name].to_numpy(dtype=np.float64)) for name in scores},
        **_extremes(recording.gates(site.name).values.reshape(-1, site.branches * site.channels)),
    }


def _categories(values: pd.Series[Any]) -> dict[str, object]:
    codes, names = pd.factorize(values.astype(str))
    return {"names": [str(name) for name in names], "data": packed_integers(codes)}


def _branch_name(site: GateSite, branch: int) -> str:
    return f"branch {branch}" + (f" (extent {site.kernels[branch]})" if site.kernels else "")


def _curves(recording: Recording, site: GateSite) -> xr.Dataset:
    """Statistics of the chosen classes and of all classes, (class, [branch,] channel), with intervals."""
    moments = recording.moments(site.name).compute()
    chosen = class_statistics(select_classes(moments, seen_classes(recording)))
    count = chosen["count"].values
    factor = stats.t.ppf((1 + CONFIDENCE) / 2, np.maximum(count - 1, 1))
    curves = chosen.assign(half_interval=chosen["standard_error"] * xr.DataArray(factor, dims="class"))
    if has_reference(recording):
        reference = reference_statistics(moments)
        normal = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
        curves = xr.concat([curves, reference.assign(half_interval=reference["standard_error"] * normal)], dim="class")
    return curves.transpose("class", ..., "channel")


def _extremes(gates: NDArray[np.floating]) -> Mapping[str, object]:
    """Images with the highest gates, highest first, then those with the lowest, lowest first, for each column."""
    order = np.argsort(gates, axis=0, kind="stable")
    count = min(EXTREMES, len(order))
    places = np.concatenate([order[::-1][:count], order[:count]]).T
    values = np.take_along_axis(gates.T, places, axis=1)
    return {"extremeImages": packed_integers(places), "extremeValues": packed(values), "extremeCount": count}
