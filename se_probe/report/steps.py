"""The page of a comparison over training steps or a sweep."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from se_probe.recording import Recording
from se_probe.report.figures import ReportFigure
from se_probe.report.section import Section, sites_table
from se_probe.report.study import Study, study_html

_METHODS = (
    "The same images went through every network. The state of a site is that of its channels over all classes seen: "
    "a channel moves (dynamic) where its gate has a standard deviation of 0.02 or more over images; else it is open "
    "at 0.95 or above, closed at 0.05 or below, or constant. A site is live while at least a quarter of its "
    "channels move; else it is saturated where most are open or closed, collapsed where they lie at one level, and "
    "constant where they do not.",
    "ω² is the share of the variance over images that lies between classes, corrected for bias; it says little where "
    "gates hardly move. Networks are read in evaluation mode, as batch norm's running statistics have them.",
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
    """Return the page of a comparison over steps.

    Args:
        recording: that of the last step.
        sites: the table of `step_sites`.
        events: the table of `step_events`.
        accuracy: the table of `step_accuracy`.
        sentences: the summary.
        figures: pictures, in the order in which they are shown.
        links: files beside the page.
    """
    number = sites["label"].nunique()
    words = "The state at the last step, and the first step at which gates hardly depend on the image."
    return study_html(
        recording,
        Study(
            kind="steps",
            title=f"{recording.provenance['model']['name']}: gates over {number} steps",
            lead=f"The same images through {number} networks, {sites['label'].iloc[0]} to {sites['label'].iloc[-1]}.",
            sentences=sentences,
            figures=figures,
            sections=[
                Section("steps", "Steps", ("Median over sites.",), sites_table(_by_step(sites, accuracy), "Step")),
                Section("sites", "Sites", (words,), sites_table(_by_site(sites, events))),
            ],
            methods=_METHODS,
            links=links,
        ),
    )


def _by_step(sites: pd.DataFrame, accuracy: pd.DataFrame) -> pd.DataFrame:
    groups = sites.groupby("label", sort=False)
    live = {label: f"{(rows['verdict'] == 'live').sum()} of {len(rows)}" for label, rows in groups}
    medians = groups[["mean_gate", "sd", "dynamic", "specificity"]].median()
    table = medians.rename(columns={"sd": "SD over images", "specificity": "omega_squared"}).assign(
        live=pd.Series(live)
    )
    top1 = accuracy.set_index("label")["top1"].reindex(table.index)
    named: pd.DataFrame = (
        table.assign(**{"Top-1, %": (100 * top1).map("{:.1f}".format)}).rename_axis("Step").reset_index()
    )
    return named


def _by_site(sites: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    last = sites[sites["label"] == sites["label"].iloc[-1]]
    shown = last[["site", "mean_gate", "sd", "dynamic", "open", "closed", "specificity", "verdict"]]
    table = shown.rename(columns={"sd": "SD over images", "specificity": "omega_squared"})
    first = events.set_index("site")[["first_label", "verdict"]].reindex(table["site"]).fillna("–")
    named: pd.DataFrame = table.assign(
        **{"First still at": first["first_label"].to_numpy(), "and was": first["verdict"].to_numpy()}
    )
    return named
