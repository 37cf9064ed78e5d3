"""The page of an experiment of changed images."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from se_probe.analysis.change import ALL_SITES, ENERGY, GATES, MOVES, POOLED, SOFTMAX
from se_probe.figures import model_line
from se_probe.recording import Recording
from se_probe.report.figures import ReportFigure
from se_probe.report.section import Section, sites_table
from se_probe.report.study import Study, study_html, with_limits

_METHODS = (
    "Every image went through the network plain and under each change, with the same weights; differences are taken "
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
    """Return the page of an experiment of changed images.

    Args:
        recording: that of the plain images.
        sites: the table of `change_sites`.
        accuracy: the table of `change_accuracy`.
        detection: the table of `change_detection`.
        sentences: the summary.
        figures: pictures, in the order in which they are shown.
        links: files beside the page.
    """
    first = sites.iloc[0]
    number = sites["condition"].nunique()
    return study_html(
        recording,
        Study(
            kind="changed images",
            title=f"{recording.provenance['model']['name']}: gates under change",
            lead=f"{model_line(recording.provenance['model'])}: the same {first['images']} images of "
            f"{first['classes']} classes, plain and under {number} changes.",
            sentences=sentences,
            figures=figures,
            sections=[
                Section(
                    "changes",
                    "Changes",
                    (
                        "Shift is the mean over sites, in standard deviations of the plain images. AUC tells changed "
                        "images from plain ones, 95 % limits in brackets.",
                    ),
                    sites_table(_changes(sites, accuracy, detection), "Change"),
                ),
                Section(
                    "sites",
                    "Sites",
                    (
                        "Shift of each site's gates, in standard deviations of the plain images; in parentheses where "
                        "no shift was found. change_sites.csv has gate units, limits and p values.",
                    ),
                    sites_table(_by_site(sites)),
                ),
            ],
            methods=_METHODS,
            links=links,
        ),
    )


def _changes(sites: pd.DataFrame, accuracy: pd.DataFrame, detection: pd.DataFrame) -> pd.DataFrame:
    whole = detection[detection["site"] == ALL_SITES]
    by_score = {name: rows.set_index("condition") for name, rows in whole.groupby("score")}
    rows = []
    for row in accuracy.to_dict("records"):
        here = sites[sites["condition"] == row["condition"]]
        limits = {
            f"AUC of {name}": with_limits(*by_score[name].loc[row["condition"], ["auc", "auc_ci_low", "auc_ci_high"]])
            for name in (GATES, POOLED, SOFTMAX, ENERGY)
            if name in by_score
        }
        change = (row["top1_change"], row["top1_ci_low"], row["top1_ci_high"])
        rows.append(
            {
                "Change": row["condition"],
                "Shift, SD": here["moved_sd"].mean(),
                "Sites that move": f"{(here['pattern'] == MOVES).sum()} of {len(here)}",
                "Top-1, %": with_limits(row["top1"], float("nan"), float("nan"), ".1f", 100),
                "Change of top-1, points": with_limits(*change, "+z.1f", 100),
                "Same first choice": row["agreement"],
                **limits,
            }
        )
    return pd.DataFrame(rows)


def _by_site(sites: pd.DataFrame) -> pd.DataFrame:
    shown = sites["moved_sd"].map("{:.2f}".format)
    table = sites.assign(shown=shown.where(sites["pattern"] == MOVES, "(" + shown + ")"))
    order = list(sites["condition"].unique())
    by_site = table.pivot(index="site", columns="condition", values="shown")[order].loc[sites["site"].unique()]
    return by_site.rename_axis(columns=None).reset_index()
