"""Tables of the scale analyses with made-up numbers."""

import numpy as np
import pandas as pd

SCALES = (1.0, 1.5, 2.0)


def examples(paths=("a/0.png", "b/0.png"), sites=("SK_2_2", "SK_3_2"), channels=8, scales=SCALES):
    rng = np.random.default_rng(0)
    rows = []
    for path in paths:
        for scale in scales:
            common = {"path": path, "class": path[0] * 3, "scale": scale, "kernels": "5 − 3"}
            for channel in range(0, 2 * channels, 2):
                place = {"site": sites[-1], "channel": channel, "site_channels": 2 * channels}
                rows.append({**common, "part": "channels", **place, "value": rng.uniform()})
            rows += [{**common, "part": "units", "site": site, "value": rng.normal(0, 0.1)} for site in sites]
    return pd.DataFrame(rows).astype({"channel": "Int64", "site_channels": "Int64"})


def thumbnails(paths=("a/0.png", "b/0.png"), scales=SCALES):
    rng = np.random.default_rng(1)
    return {(path, scale): rng.integers(0, 255, (8, 8, 3), dtype=np.uint8) for path in paths for scale in scales}


def classes(number=10, sites=("SK_2_2", "SK_3_2", "SK_5_3"), index=True):
    rng = np.random.default_rng(2)
    order = rng.permutation(number)
    rows = [
        {
            "site": site,
            "quantity": "attention difference",
            "kernels": "5 − 3",
            "scale": scale,
            "class": f"class {place}",
            "class_index": 10 * place if index else None,
            "value": (value := rng.normal()),
            "ci_low": value - 0.1 if place < 4 else np.nan,
            "ci_high": value + 0.1 if place < 4 else np.nan,
        }
        for site in sites
        for scale in SCALES
        for place in order
    ]
    return pd.DataFrame(rows).astype({"class_index": "Int64"})


def levels(sites=("SE_2_1", "SE_2_2", "SE_3_1"), quantity="mean gate"):
    rng = np.random.default_rng(3)
    rows = [
        {
            "site": site,
            "quantity": quantity,
            "scale": scale,
            "value": (value := rng.uniform()),
            "change": (change := rng.uniform() * (scale > 1)),
            "value_ci_low": value - 0.02,
            "value_ci_high": value + 0.02,
            "change_ci_low": change - 0.01,
            "change_ci_high": change + 0.01,
        }
        for site in sites
        for scale in SCALES
    ]
    return pd.DataFrame(rows)
