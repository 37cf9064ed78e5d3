"""Tables of a comparison with made-up numbers."""

import numpy as np
import pandas as pd

NAMES = ("SE_2_1", "SE_3_1", "SE_4_1", "SE_5_1")
RUNS = ("first net", "second net")


def sites(runs=RUNS, names=NAMES, over="classes"):
    rng = np.random.default_rng(0)
    rows = [
        {
            "run": run,
            "site": name,
            "depth": place / (len(names) - 1),
            "specificity": (share := rng.uniform(0.2, 0.8)),
            "specificity_ci_low": share - 0.1 if over == "classes" else np.nan,
            "specificity_ci_high": share + 0.1 if over == "classes" else np.nan,
            "specificity_over": over,
            "between_class_sd": 10 ** rng.uniform(-4, -1),
            "within_class_sd": 10 ** rng.uniform(-4, -1),
            "dynamic": rng.uniform(),
            "open": rng.uniform(),
            "closed": rng.uniform(),
            "verdict": "collapsed" if (run, place) == (runs[-1], 1) else "live",
        }
        for run in runs
        for place, name in enumerate(names)
    ]
    return pd.DataFrame(rows)


def pair(first=NAMES, other=NAMES[:3], verdict="live", rsa=True):
    rng = np.random.default_rng(1)
    rows = [
        {
            "first": RUNS[0],
            "other": RUNS[1],
            "first_site": a,
            "other_site": b,
            "cka": rng.uniform(),
            "rsa": rng.uniform(-1, 1) if rsa else np.nan,
            "first_sd": 0.1 * (1 + first.index(a)),
            "other_sd": 1e-3 * (1 + other.index(b)),
            "first_verdict": "live",
            "other_verdict": verdict,
        }
        for a in first
        for b in other
    ]
    return pd.DataFrame(rows)
