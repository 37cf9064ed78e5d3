"""Events over steps on tables whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from se_probe.analysis.steps import step_accuracy, step_events, step_sentences, step_sites
from tests.analysis.image_recording import changed_recordings

STEPS = {"plain": 0.0, "noise 1": 10.0}


def sites(verdicts):
    """One row per step and site, verdicts by site in the order of steps."""
    rows = [
        {"label": f"epoch-{step}", "step": float(step), "site": site, "verdict": verdict, "sd": 0.1 / (1 + step)}
        for step in range(3)
        for site, of_site in verdicts.items()
        for verdict in [of_site[step]]
    ]
    return pd.DataFrame(rows).assign(specificity=0.25)


TABLE = sites(
    {
        "SE_2_1": ["live", "live", "live"],
        "SE_3_1": ["live", "collapsed", "collapsed"],
        "SE_4_1": ["constant", "live", "saturated"],
        "SE_5_1": ["unknown", "saturated", "live"],
    }
)


def test_events_are_the_first_steps_at_which_sites_are_still():
    events = step_events(TABLE).set_index("site")
    assert pd.isna(events.loc["SE_2_1", "first_step"])
    assert events.loc["SE_3_1", ["first_step", "verdict", "live_before", "live_after"]].tolist() == [
        1.0,
        "collapsed",
        True,
        False,
    ]
    assert events.loc["SE_4_1", ["first_label", "live_before", "live_after"]].tolist() == ["epoch-0", False, True]
    assert events.loc["SE_5_1", ["first_step", "live_before", "live_after"]].tolist() == [1.0, False, True]


def test_sentences_name_sites_that_stop_and_those_that_never_moved():
    accuracy = pd.DataFrame({"label": ["epoch-0", "epoch-1", "epoch-2"], "images": 40, "top1": [0.5, 0.75, 0.6]})
    stopped, spread, right = step_sentences(TABLE, step_events(TABLE), accuracy)
    assert stopped == (
        "The gates of 1 of 4 sites stop depending on the image: SE_3_1 collapsed at epoch-1; those of SE_4_1 hardly "
        "depend on it at the first step."
    )
    assert spread.startswith("The spread over images is 0.1 at epoch-0 and 0.033 at epoch-2")
    assert right == ("Top-1 is 50.0 % at epoch-0 and 60.0 % at epoch-2, highest at epoch-1 with 75.0 %, on 40 images.")


def test_sites_are_measured_at_every_step_as_they_are_alone():
    runs = changed_recordings({"noise 1": 0.0})
    table = step_sites(runs, STEPS)
    assert table[["label", "step"]].drop_duplicates().to_numpy().tolist() == [["plain", 0.0], ["noise 1", 10.0]]
    for label, run in runs.items():
        for site in run.sites:
            row = table[(table["label"] == label) & (table["site"] == site.name)].iloc[0]
            groups = [run.raw[site.name][np.array(run.labels) == name] for name in ("pug", "cliff", "tabby")]
            assert row["mean_gate"] == pytest.approx(np.mean([group.mean() for group in groups]))


def test_accuracy_gives_classes_the_same_weight():
    runs = changed_recordings({"noise 1": 0.0})
    wrong = np.array([0] * 14 + [2] * 6 + [1] * 6 + [2] * 6)
    runs["noise 1"].said = wrong
    table = step_accuracy(runs, STEPS)
    assert table["top1"].tolist() == [1.0, 0.75]
    assert table["images"].tolist() == [26, 26]
