"""How gates respond to object size: the same images at several scales, compared image by image.

Source: Li, Wang, Hu and Yang, Selective Kernel Networks, arXiv 1903.06586, the analysis of attention weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from se_probe.analysis.gates import place_of
from se_probe.analysis.protocols import SiteLike
from se_probe.analysis.sampling import select_sites
from se_probe.analysis.stats.intervals import NORMAL
from se_probe.errors import SeProbeError

if TYPE_CHECKING:
    from se_probe.recording import Recording

ATTENTION, GATE, NONE = "attention difference", "mean gate", "no larger kernel"
SITE_COLUMNS = ("site", "stage", "block", "quantity", "kernels")
Scales: TypeAlias = "Mapping[float, Recording]"


def has_larger_kernel(site: SiteLike) -> bool:
    """Whether the branches of a site see neighbourhoods of different extents."""
    return len(set(site.kernels)) > 1


def quantity_of(site: SiteLike) -> str:
    """The quantity compared over scales at a site: `ATTENTION`, `GATE`, or `NONE` for branches of equal extent."""
    return ATTENTION if has_larger_kernel(site) else GATE if site.branches == 1 else NONE


def kernel_attention(gates: xr.DataArray, site: SiteLike, extent: int) -> xr.DataArray:
    """Attention of the branch with kernels of an extent, `(…, channel)`; the mean of several of that extent."""
    return gates.isel(branch=[branch for branch, kernel in enumerate(site.kernels) if kernel == extent]).mean("branch")


def site_value(gates: xr.DataArray, site: SiteLike) -> xr.DataArray:
    """One number for each image or class, from `(…, [branch,] channel)`, in gate units.

    `ATTENTION`: attention of the largest kernel less that of the smallest, mean over channels, −1 … 1. `GATE`:
    mean over channels. NaN for `NONE`.
    """
    if site.branches == 1:
        return gates.mean("channel", dtype=np.float64)
    if not has_larger_kernel(site):
        return xr.full_like(gates.isel(branch=0, channel=0, drop=True), np.nan, dtype=np.float64)
    largest, smallest = (kernel_attention(gates, site, pick(site.kernels)) for pick in (max, min))
    return (largest - smallest).mean("channel", dtype=np.float64)


def image_values(recordings: Scales) -> pd.DataFrame:
    """Values of each image of the chosen classes at each scale, for the images that every scale has.

    One row per scale, site and image: `scale`, `path`, `class`, `SITE_COLUMNS`, `value` (`site_value`), and `change`,
    the mean over branches and channels of the absolute difference to the same image's gates at the smallest scale.
    """
    rows = matched_images(recordings)
    first = recordings[min(recordings)]
    tables = []
    for site in first.sites:
        base = matched_gates(first, site, rows[min(recordings)])
        for scale in sorted(recordings):
            gates = matched_gates(recordings[scale], site, rows[scale])
            change = np.abs(gates.values - base.values).reshape(len(rows), -1).mean(axis=1)
            table = rows[["path", "class"]].assign(scale=scale, **_facts(site))
            tables.append(table.assign(value=site_value(gates, site).values, change=change))
    columns = ["scale", "path", "class", *SITE_COLUMNS, "value", "change"]
    return pd.concat(tables, ignore_index=True)[columns]


def response(values: pd.DataFrame) -> pd.DataFrame:
    """Means over images of `image_values` by site and scale, classes with equal weights.

    One row per site and scale: the columns of `SITE_COLUMNS`, `scale`, `images`, and `value` and `change` with their 95
    % limits over images of these classes, `…_ci_low` and `…_ci_high` (stratified by class, normal; NaN where a class
    has one image).
    """
    keys = [*SITE_COLUMNS, "scale"]
    columns = ["value", "change"]
    grouped = values.groupby([*keys, "class"], sort=False)[columns]
    by_class = grouped.mean()
    table = by_class.groupby(keys, sort=False).mean()
    classes = by_class.groupby(keys, sort=False)["change"].size()
    squared = (grouped.var() / grouped.count()).groupby(keys, sort=False)
    table["images"] = values.groupby(keys, sort=False).size()
    for name in columns:
        reach = NORMAL * squared[name].apply(pd.Series.sum, skipna=False) ** 0.5 / classes
        table[f"{name}_ci_low"], table[f"{name}_ci_high"] = table[name] - reach, table[name] + reach
    limits = [f"{name}_ci_{end}" for name in columns for end in ("low", "high")]
    return table.reset_index()[[*keys, "images", *columns, *limits]]


def class_values(recordings: Scales) -> pd.DataFrame:
    """`site_value` of the mean gates of every class seen, one row per scale, site and class.

    Columns: those of `SITE_COLUMNS`, `scale`, `class`, `class_index`, `images`, `value`, and its 95 % limits over
    images, `ci_low` and `ci_high`, NaN for classes whose gates were not kept. Sites of the quantity `NONE` are left
    out.
    """
    tables = []
    for scale in sorted(recordings):
        classes = recordings[scale].classes
        facts = classes[["name", "index", "images"]].set_axis(["class", "class_index", "images"], axis=1)
        for site in recordings[scale].sites:
            if quantity_of(site) == NONE:
                continue
            mean = recordings[scale].moments(site.name)["mean"].sel({"class": classes["name"].tolist()}).compute()
            table = facts.assign(scale=scale, **_facts(site), value=site_value(mean, site).values)
            reach = NORMAL * table["class"].map(_class_errors(recordings[scale], site))
            tables.append(table.assign(ci_low=table["value"] - reach, ci_high=table["value"] + reach))
    columns = [*SITE_COLUMNS, "scale", "class", "class_index", "images", "value", "ci_low", "ci_high"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def _class_errors(recording: Recording, site: SiteLike) -> pd.Series:
    """Standard error over images of a site's value, by class, for the images whose gates were kept."""
    gates = recording.gates(site.name)
    values = pd.Series(site_value(gates, site).to_numpy(), index=gates["image"].to_numpy())
    return values.groupby(recording.images["class"].reindex(values.index)).sem()


def example_values(recordings: Scales, values: pd.DataFrame, paths: Sequence[str], points: int = 16) -> pd.DataFrame:
    """Values of the images at `paths` for their figure, with about `points` channels; `values` are `image_values`.

    One row per value: `path`, `class`, `scale`, `part`, `site`, `kernels`, `channel`, `site_channels`, `value`. Part
    "channels": attention of the larger kernel at `middle_unit`, for every nth channel, n = channels / `points` (the
    paper's every 16th of 256). Part "units": the `ATTENTION` of `values` at `stage_ends`; it has no channel.
    """
    sites = recordings[min(recordings)].sites
    (middle,) = select_sites(sites, [middle_unit(sites)])
    rows = matched_images(recordings).set_index("path").loc[list(paths)]
    tables = [_channel_attention(recordings[scale], middle, rows, scale, points) for scale in sorted(recordings)]
    units = values[values["path"].isin(paths) & values["site"].isin(stage_ends(sites))]
    columns = ["path", "class", "scale", "part", "site", "kernels", "channel", "site_channels", "value"]
    table = pd.concat([*tables, units.assign(part="units")], ignore_index=True)[columns]
    return table.astype({"channel": "Int64", "site_channels": "Int64"})


def stage_ends(sites: Sequence[SiteLike]) -> list[str]:
    """Names of the last site with a larger kernel of each stage (paper: SK_2_3, SK_3_4, SK_4_6, SK_5_3)."""
    return list({site.stage: site.name for site in sites if has_larger_kernel(site)}.values())


def middle_unit(sites: Sequence[SiteLike]) -> str:
    """Name of the last site of the middle stage (paper: SK_3_4)."""
    ends = stage_ends(sites)
    return ends[(len(ends) - 1) // 2]


def class_units(sites: Sequence[SiteLike]) -> list[str]:
    """Names of the sites of the class figure: the last of the first two stages and of the last one (paper)."""
    ends = stage_ends(sites)
    return list(dict.fromkeys([*ends[:2], *ends[-1:]]))


def example_images(recording: Recording, limit: int = 6) -> list[str]:
    """Paths of the first image of each chosen class, at most `limit` of them."""
    images = recording.images
    first = images[images["role"] == "chosen"].drop_duplicates("class").set_index("class")["path"]
    return [str(first[name]) for name in recording.chosen if name in first.index][:limit]


def _channel_attention(
    recording: Recording, site: SiteLike, rows: pd.DataFrame, scale: float, points: int
) -> pd.DataFrame:
    channels = np.arange(0, site.channels, max(1, site.channels // points))
    gates = recording.gates(site.name).sel(image=rows[scale].to_numpy()).isel(channel=channels).compute()
    table = rows[["class"]].loc[rows.index.repeat(len(channels))].reset_index()
    return table.assign(
        scale=scale,
        part="channels",
        site=site.name,
        kernels=_facts(site)["kernels"],
        channel=np.tile(channels, len(rows)),
        site_channels=site.channels,
        value=kernel_attention(gates, site, max(site.kernels)).values.ravel(),
    )


def _facts(site: SiteLike) -> dict[str, Any]:
    kernels = f"{max(site.kernels)} − {min(site.kernels)}" if has_larger_kernel(site) else ""
    return {**place_of(site), "quantity": quantity_of(site), "kernels": kernels}


def matched_images(recordings: Mapping[Any, Recording], *, verb: str = "scale") -> pd.DataFrame:
    """The chosen classes' images that every recording has: `path`, `class`, and for each key the image's row.

    `verb` is the command that records them, for the message where there are none.
    """
    chosen = {key: item.images[item.images["role"] == "chosen"] for key, item in recordings.items()}
    rows = [pd.Series(images.index, index=images["path"], name=key) for key, images in chosen.items()]
    classes = next(iter(chosen.values())).set_index("path")["class"]
    matched = pd.concat([classes, *rows], axis=1, join="inner")
    if matched.empty:
        raise SeProbeError(
            f"no image is in the recordings of all {len(recordings)} {verb}s; expected the same images at each, "
            f"record them in one run of se-probe {verb}."
        )
    return matched.rename_axis("path").reset_index()


def matched_gates(recording: Recording, site: SiteLike, rows: pd.Series) -> xr.DataArray:
    """Gates of the images in `rows`, `(image, [branch,] channel)`, in float64; images are numbered from 0."""
    gates = recording.gates(site.name).sel(image=rows.to_numpy()).astype(np.float64).compute()
    return gates.assign_coords(image=np.arange(len(rows)))
