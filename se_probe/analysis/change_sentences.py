"""What a run of changes found: three sentences, and a line a change."""

import pandas as pd

from se_probe.analysis.changed import MOVES
from se_probe.analysis.detection import ALL_SITES, GATES
from se_probe.analysis.findings.summary import Summary
from se_probe.analysis.shifts import LEVEL


def change_sentences(sites: pd.DataFrame, accuracy: pd.DataFrame, detection: pd.DataFrame) -> list[str]:
    """Say in three sentences what moved, what it cost, and whether gates tell changed images from plain ones."""
    return [_moved_sentence(sites), _accuracy_sentence(accuracy), _detection_sentence(detection)]


def _moved_sentence(sites: pd.DataFrame) -> str:
    if sites["moved_sd"].isna().all():
        return (
            "Gates of the plain images do not move at any site, so that shifts have no standard deviation to compare."
        )
    top = sites.loc[[sites["moved_sd"].idxmax()]].to_dict("records")[0]
    mean = sites.groupby("condition", sort=False)["moved_sd"].mean()
    most, least = str(mean.idxmax()), str(mean.idxmin())
    moving = (sites["pattern"] == MOVES).groupby(sites["condition"], sort=False).sum()
    number = sites["site"].nunique()
    return (
        f"Gates move most under {most}, by {mean[most]:.2f} standard deviations of the plain images on average over "
        f"sites (a shift is found at {moving[most]} of {number}), and least under {least}, by {mean[least]:.2f} (at "
        f"{moving[least]} of {number}); the farthest is {top['moved_sd']:.2f} SD, {top['moved']:.3f} in gate units, at "
        f"{top['site']} under {top['condition']}."
    )


def _accuracy_sentence(accuracy: pd.DataFrame) -> str:
    if accuracy["top1_change"].isna().all():
        return "Accuracy is unknown: the network has no output unit for the images' classes."
    worst = accuracy.loc[[accuracy["top1_change"].idxmin()]].to_dict("records")[0]
    found = accuracy[accuracy["p_holm"] <= LEVEL]
    return (
        f"Accuracy changes under {len(found)} of {len(accuracy)} changes (Holm); most under {worst['condition']}, from "
        f"{100 * worst['plain_top1']:.1f} to {100 * worst['top1']:.1f} %, {100 * worst['top1_change']:+.1f} points "
        f"[{100 * worst['top1_ci_low']:+.1f}, {100 * worst['top1_ci_high']:+.1f}], on {worst['labelled']} images."
    )


def _detection_sentence(detection: pd.DataFrame) -> str:
    gates = detection[(detection["score"] == GATES) & (detection["site"] == ALL_SITES)].set_index("condition")
    low, high = str(gates["auc"].idxmin()), str(gates["auc"].idxmax())
    told = gates["auc_ci_low"] > 0.5
    parts = [
        f"Gates of all sites tell changed images from plain ones under {told.sum()} of {len(gates)} changes (AUC "
        f"{gates['auc'].min():.2f} under {low} to {gates['auc'].max():.2f} under {high})"
    ]
    for name, words in (("energy", "the energy score"), ("softmax", "softmax"), ("pooled", "pooled features")):
        if gates[f"minus_{name}"].notna().any():
            better = int((gates[f"minus_{name}_ci_low"] > 0).sum())
            worse = int((gates[f"minus_{name}_ci_high"] < 0).sum())
            parts.append(f"better than {words} under {better} and worse under {worse}")
    return "; ".join(parts) + "."


def change_summary(sites: pd.DataFrame, accuracy: pd.DataFrame, detection: pd.DataFrame) -> Summary:
    """Summarise a run of changes: its sentences, then a line a change. There is no command to suggest.

    Args:
        sites: the table of `change_sites`.
        accuracy: the table of `change_accuracy`.
        detection: the table of `change_detection`.
    """
    of_gates = detection[(detection["score"] == GATES) & (detection["site"] == ALL_SITES)]
    scores = of_gates.set_index("condition")["auc"].to_dict()
    lines = []
    for row in accuracy.to_dict("records"):
        name = str(row["condition"])
        own = sites[sites["condition"] == name]
        parts = [f"gates move at {(own['pattern'] == MOVES).sum()} of {len(own)} sites"]
        if own["moved_sd"].notna().any():
            parts[0] += f", by {own['moved_sd'].mean():.2f} SD"
        if row["top1_change"] == row["top1_change"]:
            parts.append(f"top-1 {100 * row['top1_change']:+z.1f} points")
        parts.append(f"AUC {scores[name]:.2f}")
        lines.append(f"{name}: {'; '.join(parts)}")
    return Summary(tuple(change_sentences(sites, accuracy, detection)), tuple(lines), None)
