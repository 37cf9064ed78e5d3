"""How well the class can be decoded from the gates of a site."""

from collections.abc import Sequence

import pandas as pd

from se_probe.analysis.gates import chosen_sites, each_site, site_facts, site_gates, site_moments
from se_probe.analysis.protocols import GateRecording, SiteLike
from se_probe.analysis.stats.decoding import FOLDS, REPEATS, decode


def site_decodability(
    recording: GateRecording,
    sites: Sequence[str] | None = None,
    *,
    folds: int = FOLDS,
    repeats: int = REPEATS,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how well the chosen classes can be decoded from the gates of sites.

    Classification standardises channels, so gates that hardly move count as much as others: read `between_class_sd`,
    `within_class_sd` and `verdict` with it.

    Args:
        recording: the recording.
        sites: names of the sites; None: all.
        folds: folds of the cross-validation.
        repeats: how often it is repeated with other folds.
        seed: seed of the random numbers.

    Returns:
        One row a site. After the facts of `site_facts`: `chosen_classes`, `chosen_images`, `test_folds`; `accuracy`,
        balanced accuracy on images held out, with `ci_low` and `ci_high`, and `chance`. NaN for fewer than two classes,
        or a class with one image.

    Raises:
        SeProbeError: an unknown site.

    Source: `stats.decoding.decode`.
    """

    def measured(site: SiteLike) -> dict[str, object]:
        gates = site_gates(recording, site)
        result = decode(gates.values, gates.labels, folds=folds, repeats=repeats, seed=seed)
        return {
            **site_facts(site_moments(recording, site)),
            "chosen_classes": len(gates.names),
            "chosen_images": len(gates.values),
            "test_folds": len(result.folds),
            "accuracy": result.accuracy,
            "ci_low": result.low,
            "ci_high": result.high,
            "chance": result.chance,
        }

    return pd.DataFrame(each_site(measured, chosen_sites(recording, sites)))
