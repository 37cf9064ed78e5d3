"""The line below a figure's title: which network, how many images, what is drawn."""

import pandas as pd


def caption_line(model: str, weights: str, curves: pd.DataFrame) -> str:
    """One line with the model and its weights, the images behind each curve, and the estimator."""
    counts = curves.loc[curves["role"] == "class", "count"]
    low, high = int(counts.min()), int(counts.max())
    number = str(low) if low == high else f"{low} to {high}"
    parts = [f"{model}, {weights}", f"{number} image{'s' if high > 1 else ''} a class"]
    for name, rows in curves[curves["role"] == "reference"].groupby("class"):
        parts.append(f"{name}: {int(rows['count'].iloc[0])} images, equal weights")
    return " · ".join(parts)
