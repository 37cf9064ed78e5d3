"""Result of a run of `fold`: sites, trials, verdict and the folder of the folded network."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from se_probe.costs.timing import Timing
from se_probe.folding.evaluation import Loss, MetricLoss
from se_probe.folding.study import Trial


@dataclass(frozen=True)
class FoldRun:
    """A run of `fold`.

    Attributes:
        path: the run's folder.
        sites: one row per site, the most static first: `site`, `module`, `image_sd` (standard deviation of the gate
            over images, root mean square over channels), `fixed`, `how`, `layers`, `reason`.
        trials: one row per set of sites tried: `sites` (their number), `names`, `loss`, `ci_low`, `ci_high`, `lost`,
            `won`, `images`, `allowed`.
        facts: content of `run.json`.
        folder: the folder of the folded network, None if nothing was folded.
    """

    path: Path
    sites: pd.DataFrame
    trials: pd.DataFrame
    facts: dict[str, Any]
    folder: Path | None

    @property
    def fixed(self) -> list[str]:
        """Names of the sites whose gates are constants in the folded network."""
        return [str(name) for name in self.sites.loc[self.sites["fixed"], "site"]]

    @property
    def refusal(self) -> str:
        """Why nothing was folded, "" where something was."""
        return str(self.facts["fold"]["refusal"])

    def __repr__(self) -> str:
        return f"<se_probe.FoldRun {self.path}: {self.refusal or self.facts['fold']['verdict']}>"

    def _repr_html_(self) -> str:
        """Return the verdict and the sites for a notebook."""
        verdict = html.escape(self.refusal or str(self.facts["fold"]["verdict"]))
        table = self.sites.to_html(escape=True, index=False, float_format="{:.4f}".format)
        return f"<div><strong>{verdict}</strong>{table}</div>"


def trials_table(trials: Sequence[Trial]) -> pd.DataFrame:
    """Return the table of trials, one row per set of sites, in the order they were tried."""
    columns = ["sites", "names", "loss", "ci_low", "ci_high", "lost", "won", "images", "allowed"]
    rows = []
    for trial in trials:
        loss = trial.loss
        limits, counts = (loss.points, loss.low, loss.high), (loss.lost, loss.won, loss.images)
        rows.append((len(trial.sites), " ".join(trial.sites), *limits, *counts, trial.allowed))
    return pd.DataFrame(rows, columns=columns)


def verdict_of(loss: Loss, max_loss: float, measure: str) -> str:
    """Compare the held-out loss with the allowed one in a sentence."""
    lost = f"loses {loss} of {measure} on {loss.images} held-out images"
    allowed = f"{max_loss:g} {loss.unit}".rstrip() if isinstance(loss, MetricLoss) else f"{max_loss:g}"
    if loss.high <= max_loss:
        return f"{lost}: shown to be within the allowed {allowed} (the interval's upper limit is)"
    if loss.points <= max_loss:
        return (
            f"{lost}: within the allowed {allowed} as measured, but with so few images a loss of "
            f"{loss.shown(loss.high)} is not excluded"
        )
    return f"{lost}: more than the allowed {allowed}"


def timing_sentence(timing: Timing) -> str:
    """Return a sentence on the run time after folding, relative to that before.

    It leaves out the milliseconds after folding: under noise, the quotient of two medians contradicts the median of
    the paired ratios.
    """
    return (
        f"{timing.ratio:.3f} times [{timing.low:.3f}, {timing.high:.3f}] the {timing.before:.1f} ms before folding "
        f"(median of {timing.pairs} pairs, batch of {timing.batch} on {timing.device}, {timing.threads} threads)"
    )
