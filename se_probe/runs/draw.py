"""The figures of a recording, drawn into its folder; no network is needed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from se_probe.analysis import class_similarity, cluster_classes, default_within, excitation_curves, within_class_curves
from se_probe.analysis.ablation import ALONE, importance_correlations, site_importance
from se_probe.analysis.gates import channel_gates
from se_probe.analysis.outcomes import cost_of
from se_probe.analysis.similarity import clustered_class_means, pair_table
from se_probe.figures import (
    EFFECT_FIGURES,
    RUN_FIGURES,
    channel_distribution,
    class_heatmap,
    class_similarity_matrix,
    curves_caption,
    intervention_classes,
    intervention_cost,
    intervention_savings,
    model_line,
    role_of_excitation,
    specificity_importance,
    within_class,
)
from se_probe.figures.interventions import SCOPES
from se_probe.labels import LabelSpace
from se_probe.recording import Recording
from se_probe.runs.artifacts import Artifacts, Drawn
from se_probe.runs.presets import DEFAULT_CHANNELS
from se_probe.runs.recorded import recorded_labels
from se_probe.runs.shared_settings import DrawSettings

# With more classes, heat maps and trees show only the chosen ones: a thousand names cannot be read.
MOST_CLASSES = 100


def draw(
    recording: Recording,
    folder: str | Path,
    *,
    sites: Sequence[str] | None = None,
    classes: str | Sequence[str] | None = None,
    channels: int | Literal["all"] | None = DEFAULT_CHANNELS,
    within: str | Sequence[str] | None = None,
    seed: int = 0,
) -> list[Path]:
    """Draw the figures of a recording into `folder/figures`, without the network; return the files.

    Args:
        recording: the recording.
        folder: where `figures/` is made.
        sites: sites to show; the last of each stage and all of the last stage by default.
        classes: classes to show, the chosen ones by default.
        channels: number of channels to show, None or "all" for all.
        within: classes of the within-class figure.
        seed: decides which channels are sampled.

    Raises:
        SeProbeError: an option is out of range, the recording lacks a site or class, or the folder cannot be written.
    """
    given = DrawSettings(sites=sites, classes=classes, channels=channels, within=within, seed=seed)
    return Artifacts(Path(folder)).figures(curves_drawn(recording, given))


def curves_drawn(recording: Recording, shown: DrawSettings) -> list[Drawn]:
    """Draw class means by channel, and the spread within classes."""
    labels = recorded_labels(recording)
    present = [name for name in recording.chosen if name in set(recording.classes["name"])]
    names = _resolved(labels, shown.classes) or present
    pair = _resolved(labels, shown.within) or default_within(names)
    channels = shown.channels if isinstance(shown.channels, int) else None
    between = excitation_curves(recording, shown.sites, names, channels, shown.seed)
    if not recording.provenance["data"]["reference_per_class"]:
        between = between[between["role"] == "class"]
    inside = within_class_curves(recording, pair, shown.sites, channels, shown.seed)
    network = model_line(recording.provenance["model"], complete=recording.complete)
    captions = [curves_caption(network, curves) for curves in (between, inside)]
    first = role_of_excitation(between, demo=recording.demo, caption=captions[0])
    second = within_class(inside, demo=recording.demo, order=names, caption=captions[1])
    return [Drawn(first, between, "role_of_excitation"), Drawn(second, inside, "within_class")]


def _resolved(labels: LabelSpace, classes: str | Sequence[str] | None) -> list[str]:
    return [item.image_class.name for item in labels.resolve_all(classes)] if classes else []


def measures_drawn(recording: Recording, tables: Mapping[str, pd.DataFrame]) -> list[Drawn]:
    """Draw the measures of a recording, from the tables of `measure_tables`.

    These are the figures of `RUN_FIGURES` and `EFFECT_FIGURES` that have a table, and three of the site whose class
    means differ most: its class means, the similarity of classes, and its most class-specific channel.
    """
    network = model_line(recording.provenance["model"], complete=recording.complete)
    caption = f"{network} · {len(recording.images)} images of {len(recording.classes)} classes"
    about: dict[str, Any] = {"demo": recording.demo, "caption": caption}
    drawn = []
    for stem, figure in (RUN_FIGURES | EFFECT_FIGURES).items():
        table = tables.get(figure.table)
        if figure.draw is not None and table is not None and figure.drawable(table):
            drawn.append(Drawn(figure.draw(table, **about), table, stem))
    spread = tables["site_specificity.csv"].set_index("site")["between_class_sd"]
    if len(recording.classes) > 1 and spread.notna().any():
        drawn += _draw_site(recording, str(spread.idxmax()), tables["channel_specificity.csv.gz"], about)
    return drawn


def _draw_site(recording: Recording, site: str, channels: pd.DataFrame, about: dict[str, Any]) -> list[Drawn]:
    classes = recording.chosen if len(recording.classes) > MOST_CLASSES else None
    similarity = class_similarity(recording, site, classes)
    clustering = cluster_classes(similarity)
    pairs = pair_table(similarity, clustering)
    order = pairs.drop_duplicates("row").sort_values("row")["class"].tolist()
    means = clustered_class_means(recording, site, classes, order=order)
    matrix = class_similarity_matrix(pairs, clustering.linkage, site=site, **about)
    drawn = [Drawn(class_heatmap(means, **about), means, "class_heatmap"), Drawn(matrix, pairs, "class_similarity")]
    known = channels[(channels["site"] == site) & channels["omega_squared"].notna()]
    if len(known):
        best = known.nlargest(1, "omega_squared").iloc[0]
        gates = channel_gates(recording, site, int(best["channel"]), int(best["branch"]))
        drawn.append(Drawn(channel_distribution(gates, **about), gates, "channel_distribution"))
    return drawn


def interventions_drawn(
    tables: Mapping[str, pd.DataFrame], *, model: str, demo: bool, specificity: pd.DataFrame | None = None
) -> list[Drawn]:
    """Draw what interventions cost, a set of figures for each replacement.

    With `specificity`, the table of `site_specificity`, specificity is drawn against importance.
    """
    sites, classes = tables["ablation_sites.csv"], tables["ablation_classes.csv"]
    replacements = list(sites["replacement"].unique())
    drawn: list[Drawn] = []
    for replacement in replacements:
        rows = sites[sites["replacement"] == replacement]
        first = rows.iloc[0]
        images = f"{first['images']} images of {first['classes']} classes, equal weights"
        about: dict[str, Any] = {"demo": demo, "caption": f"{model} · {first['replacement']} · {images}"}
        ending = "" if len(replacements) == 1 else "." + re.sub(r"[^A-Za-z0-9.]+", "-", replacement).strip("-.")
        of_classes = classes[classes["replacement"] == replacement]
        of_replacement = _drawn_interventions(rows, of_classes, specificity, about)
        drawn += [item._replace(stem=item.stem + ending) for item in of_replacement]
    return drawn


def _drawn_interventions(
    rows: pd.DataFrame, classes: pd.DataFrame, specificity: pd.DataFrame | None, about: dict[str, Any]
) -> list[Drawn]:
    """Draw the figures of one replacement that its rows have numbers for."""
    change = cost_of(rows).change
    alone = rows[(rows["scope"] == ALONE) & rows[change].notna()]
    placed = rows[rows["scope"].isin(SCOPES)]  # not groups named by the user
    drawn: list[Drawn] = []
    if placed[change].notna().any():
        drawn.append(Drawn(intervention_cost(rows, **about), rows, "intervention_cost"))
    if "parameters_saved" in rows and placed[["parameters_saved", "multiply_adds_saved"]].gt(0).all(axis=1).any():
        drawn.append(Drawn(intervention_savings(rows, **about), rows, "intervention_savings"))
    if len(alone):
        drawn.append(Drawn(intervention_classes(classes, **about), classes, "intervention_classes"))
    if len(alone) and specificity is not None:
        points = site_importance(rows, specificity)
        figure = specificity_importance(points, correlations=importance_correlations(points), **about)
        drawn.append(Drawn(figure, points, "specificity_importance"))
    return drawn
