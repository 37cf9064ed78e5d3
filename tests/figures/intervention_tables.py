"""Tables of interventions with planted effects, as the analysis hands them to the figures."""

import numpy as np
import pandas as pd

from se_probe.analysis.ablation import ablation_tables
from tests.analysis.ablated import SITES, planted

WORTH = dict(zip(SITES, (0.2, 0.15, 0.1, 0.1, 0.05, 0.05, 0.01, 0.0), strict=True))


def intervention_tables(worth=WORTH, **facts):
    """The tables of sites, with savings, and of classes."""
    costs = pd.DataFrame(
        {
            "site": list(worth),
            "parameters": [4 ** int(site.split("_")[1]) for site in worth],
            "multiply_adds": np.arange(1, len(worth) + 1) * 1000,
        }
    )
    tables = ablation_tables(planted(worth, **facts), costs)
    return tables["ablation_sites.csv"], tables["ablation_classes.csv"]


def importance_table(verdicts=None):
    rng = np.random.default_rng(6)
    size = len(SITES)
    share, rise = rng.uniform(0.2, 0.8, size), rng.uniform(0, 0.2, size)
    return pd.DataFrame(
        {
            "site": SITES,
            "between_class_sd": rng.uniform(0.01, 0.1, size),
            "omega_squared": share,
            "ci_low": share - 0.1,
            "ci_high": share + 0.1,
            "verdict": verdicts or ["live"] * size,
            "nll_change": rise,
            "nll_ci_low": rise - 0.01,
            "nll_ci_high": rise + 0.02,
        }
    )


def segments(collection):
    """Ends of the lines of a collection, `(line, end, axis)`."""
    return np.array(collection.get_segments())
