"""Pages other than a run's report, each one HTML file without scripts: comparisons, changed images, steps, a look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from se_probe.analysis.change import ALL_SITES, ENERGY, GATES, MOVES, POOLED, SOFTMAX
from se_probe.analysis.comparison import Comparison, comparison_sentences, comparison_summary
from se_probe.figures import model_line
from se_probe.recording import Recording
from se_probe.report.facts import interval_texts, repeatable
from se_probe.report.figures import ReportFigure
from se_probe.report.page import render
from se_probe.report.section import PageTable, Section, sites_table, with_limits

_CHANGE_METHODS = (
    "The network was run on every image, plain and under each change, with the same weights; differences are taken "
    "image by image. brightness, contrast, blur, noise and jpeg have the severities of ImageNet-C (Hendrycks and "
    "Dietterich, ICLR 2019), for pictures under 128 pixels those of Tiny ImageNet-C, and act on the picture that "
    "the network sees. Random changes are seeded by the picture, so that the same picture has the same noise at "
    "every strength.",
    "A site's shift is the mean over images and channels of the absolute difference to the same image's gate, every "
    "class with equal weight. It is shown in standard deviations of the plain images' gates (root mean square over "
    "channels) and, in the tables, in gate units with 95 % limits (studentized bootstrap). Whether gates move is "
    "tested by flipping the signs of whole images, with the squared length of the mean difference over channels as "
    "the statistic, and Holm's correction over the sites of a change; with ten classes or more the classes are the "
    "units. A shift under 0.001 in gate units counts as none.",
    "Accuracy is top-1, classes with equal weights, with Bonett and Price's limits for paired proportions.",
    "The distance by which gates tell changed images from plain ones is the squared distance to the nearest class "
    "mean in standard deviations within classes (Lee et al., NeurIPS 2018, with a diagonal covariance), over all "
    "channels, the image itself left out of the moments. Pooled features are the squeeze, from which the gate is "
    "computed, with the same distance. Softmax is the highest probability (Hendrycks and Gimpel, ICLR 2017), energy "
    "the log-sum-exp of the logits (Liu et al., NeurIPS 2020). AUC is the probability that a changed image has the "
    "more unusual score than another plain one; its limits are DeLong's for paired images, on the logit scale.",
)
_STEPS_METHODS = (
    "The same images went through every network. The state of a site is that of its channels over all classes seen: "
    "a channel moves (dynamic) where its gate has a standard deviation of 0.02 or more over images; else it is open "
    "at 0.95 or above, closed at 0.05 or below, or constant. A site is live while at least a quarter of its "
    "channels move; else it is saturated where most are open or closed, collapsed where they lie at one level, and "
    "constant where they do not.",
    "ω² is the share of the variance over images that lies between classes, corrected for bias; it says little where "
    "gates hardly move. Networks are read in evaluation mode, as batch norm's running statistics have them.",
)
_STEP_WORDS = {"sd": "SD over images", "specificity": "omega_squared"}
_MATCH_COLUMNS = {
    "run_site": "site",
    "run_sd": "SD of its gates",
    "run_verdict": "Its gates",
    "other_site": "Most similar",
    "other_sd": "SD of those gates",
    "other_verdict": "Those gates",
    "apart": "Depth away",
    "cka": "CKA",
    "cka_interval": "Interval of CKA",
    "rsa": "RSA",
    "rsa_interval": "Interval of RSA",
}


def comparison_html(
    comparison: Comparison,
    recordings: Mapping[str, Recording],
    *,
    figures: Sequence[ReportFigure],
    links: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> str:
    """Return the page of a comparison of labelled recordings.

    `links` are files beside the page, `notes` are shown first.
    """
    classes = comparison.shared.images["class"].value_counts(sort=False)
    return render(
        "comparison.html.j2",
        comparison=comparison,
        runs=[_run(label, recording) for label, recording in recordings.items()],
        classes=list(classes.items()),
        over_classes=bool((comparison.sites["specificity_over"] == "classes").all()),
        summary=comparison_summary(comparison),
        statements=comparison_sentences(comparison),
        sites=[(label, _sites(rows)) for label, rows in comparison.sites.groupby("run", sort=False)],
        matches=[(*pair, _matches(rows)) for pair, rows in comparison.matches.groupby(["run", "other"], sort=False)],
        figures=figures,
        links=links,
        notes=notes,
        demo=any(recording.demo for recording in recordings.values()),
    )


def _run(label: str, recording: Recording) -> dict[str, object]:
    return {"label": label, "folder": recording.path.parent, "sites": recording.sites} | repeatable(recording)


def _sites(rows: pd.DataFrame) -> PageTable:
    over_images = (rows["specificity_over"] == "images").all()
    interval = "Interval of ω² (images)" if over_images else "omega_interval"
    table = rows.rename(columns={"depth": "Relative depth", "specificity": "omega_squared"})
    table[interval] = interval_texts(rows, "specificity_")
    spreads = [interval, "between_class_sd", "within_class_sd", "verdict", "mean_gate"]
    states = ["dynamic", "open", "closed", "effective_rank"]
    return sites_table(table[["site", "Relative depth", "omega_squared", *spreads, *states]])


def _matches(rows: pd.DataFrame) -> PageTable:
    table = rows.assign(
        other_site=rows["other_site"].fillna("–"),
        other_verdict=rows["other_verdict"].fillna("–"),
        apart=rows["other_depth"] - rows["run_depth"],
        cka_interval=interval_texts(rows, "cka_"),
        rsa_interval=interval_texts(rows, "rsa_"),
    )
    return sites_table(table[list(_MATCH_COLUMNS)].rename(columns=_MATCH_COLUMNS))


def change_html(
    recording: Recording,
    *,
    sites: pd.DataFrame,
    accuracy: pd.DataFrame,
    detection: pd.DataFrame,
    sentences: Sequence[str],
    figures: Sequence[ReportFigure],
    links: Sequence[str] = (),
) -> str:
    """Return the page of an experiment of changed images, from the recording of the plain ones.

    Tables are those of `change_sites`, `change_accuracy` and `change_detection`; `links` are files beside the page.
    """
    first, model, number = sites.iloc[0], recording.provenance["model"], sites["condition"].nunique()
    changes = (
        "Shift is the mean over sites, in standard deviations of the plain images. AUC tells changed images from plain "
        "ones, 95 % limits in brackets."
    )
    shifts = (
        "Shift of each site's gates, in standard deviations of the plain images; in parentheses where no shift was "
        "found. change_sites.csv has gate units, limits and p values."
    )
    return _study_html(
        recording,
        kind="changed images",
        title=f"{model['name']}: gates under change",
        lead=f"{model_line(model)}: the same {first['images']} images of {first['classes']} classes, plain and under "
        f"{number} change{'s' * (number > 1)}.",
        sentences=sentences,
        figures=figures,
        sections=[
            Section("changes", "Changes", (changes,), sites_table(_by_change(sites, accuracy, detection), "Change")),
            Section("sites", "Sites", (shifts,), sites_table(_shifts_by_site(sites))),
        ],
        methods=_CHANGE_METHODS,
        links=links,
    )


def steps_html(
    recording: Recording,
    *,
    sites: pd.DataFrame,
    events: pd.DataFrame,
    accuracy: pd.DataFrame,
    sentences: Sequence[str],
    figures: Sequence[ReportFigure],
    links: Sequence[str] = (),
) -> str:
    """Return the page of a comparison over training steps or a sweep, with the recording of the last one.

    Tables are those of `step_sites`, `step_events` and `step_accuracy`; `links` are files beside the page.
    """
    labels = sites["label"].unique()
    states = "The state at the last step, and the first step at which gates hardly depend on the image."
    return _study_html(
        recording,
        kind="steps",
        title=f"{recording.provenance['model']['name']}: gates over {len(labels)} steps",
        lead=f"The same images through {len(labels)} networks, {labels[0]} to {labels[-1]}.",
        sentences=sentences,
        figures=figures,
        sections=[
            Section("steps", "Steps", ("Median over sites.",), sites_table(_by_step(sites, accuracy), "Step")),
            Section("sites", "Sites", (states,), sites_table(_states_by_site(sites, events))),
        ],
        methods=_STEPS_METHODS,
        links=links,
    )


def _study_html(recording: Recording, **shown: Any) -> str:
    """Return the page of several recordings of the same images, with the provenance of one of them."""
    return render("study.html.j2", demo=recording.demo, run=repeatable(recording), **shown)


def _by_change(sites: pd.DataFrame, accuracy: pd.DataFrame, detection: pd.DataFrame) -> pd.DataFrame:
    whole = detection[detection["site"] == ALL_SITES]
    by_score = {name: rows.set_index("condition") for name, rows in whole.groupby("score")}
    rows = []
    for row in accuracy.to_dict("records"):
        changed = sites[sites["condition"] == row["condition"]]
        areas = {
            f"AUC of {name}": with_limits(*by_score[name].loc[row["condition"], ["auc", "auc_ci_low", "auc_ci_high"]])
            for name in (GATES, POOLED, SOFTMAX, ENERGY)
            if name in by_score
        }
        top1 = (row["top1_change"], row["top1_ci_low"], row["top1_ci_high"])
        rows.append(
            {
                "Change": row["condition"],
                "Shift, SD": changed["moved_sd"].mean(),
                "Sites that move": f"{(changed['pattern'] == MOVES).sum()} of {len(changed)}",
                "Top-1, %": with_limits(row["top1"], float("nan"), float("nan"), ".1f", 100),
                "Change of top-1, points": with_limits(*top1, "+z.1f", 100),
                "Same first choice": row["agreement"],
                **areas,
            }
        )
    return pd.DataFrame(rows)


def _shifts_by_site(sites: pd.DataFrame) -> pd.DataFrame:
    shown = sites["moved_sd"].map("{:.2f}".format)
    table = sites.assign(shown=shown.where(sites["pattern"] == MOVES, "(" + shown + ")"))
    order = list(sites["condition"].unique())
    by_site = table.pivot(index="site", columns="condition", values="shown")[order].loc[sites["site"].unique()]
    return by_site.rename_axis(columns=None).reset_index()


def _by_step(sites: pd.DataFrame, accuracy: pd.DataFrame) -> pd.DataFrame:
    groups = sites.groupby("label", sort=False)
    table: pd.DataFrame = groups[["mean_gate", "sd", "dynamic", "specificity"]].median().rename(columns=_STEP_WORDS)
    table["live"] = [f"{(rows['verdict'] == 'live').sum()} of {len(rows)}" for _, rows in groups]
    top1 = accuracy.set_index("label")["top1"].reindex(table.index)
    table["Top-1, %"] = (100 * top1).map("{:.1f}".format)
    return table.rename_axis("Step").reset_index()


def _states_by_site(sites: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    last = sites[sites["label"] == sites["label"].iloc[-1]]
    shown = last[["site", "mean_gate", "sd", "dynamic", "open", "closed", "specificity", "verdict"]]
    table: pd.DataFrame = shown.rename(columns=_STEP_WORDS)
    first = events.set_index("site")[["first_label", "verdict"]].reindex(table["site"]).fillna("–")
    table[["First still at", "and was"]] = first.to_numpy()
    return table


class LookedImage(NamedTuple):
    """An image: its path, what the network answers, how many gates are unusual, and the gates that are shown."""

    path: str
    answer: str
    unusual: str
    table: PageTable
    figure: ReportFigure


def look_html(images: Sequence[LookedImage], *, model: str, against_run: bool, demo: bool, command: str) -> str:
    """Return the page of the user's images; with `against_run`, their gates were compared with those of a run."""
    return render("look.html.j2", images=images, model=model, against_run=against_run, demo=demo, command=command)


def gates_table(shown: pd.DataFrame) -> PageTable:
    """Return the gates of an image as a table of a page."""
    hidden = {"image", "branches"} if shown["branches"].max() > 1 else {"image", "branches", "branch"}
    table = shown.drop(columns=list(hidden)).dropna(axis="columns", how="all").rename(columns={"effect": "first_order"})
    return sites_table(table)
