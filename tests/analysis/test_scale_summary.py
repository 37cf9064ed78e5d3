"""What a scale experiment says first: what cannot be judged, then where attention moves, and how far at most."""

import pandas as pd
import pytest

from se_probe.analysis.shifts import scale_summary

LARGER, SMALLER, NONE_FOUND = "moves to the larger kernel", "moves to the smaller kernel", "no shift found"


def row(site, verdict, effect=0.0, *, quantity="attention difference", sd=0.1):
    return {
        "site": site, "stage": int(site[3]), "block": 1, "quantity": quantity, "kernels": "5 − 3", "from_scale": 1.0,
        "to_scale": 2.0, "images": 200, "classes": 4, "sd": sd, "risen": 0.5, "effect": effect,
        "ci_low": effect - 0.002, "ci_high": effect + 0.002, "p": 0.001, "p_holm": 0.004, "resampling_unit": "image",
        "verdict": verdict, "classes_risen": 2,
    }  # fmt: skip


def told(*rows):
    return scale_summary(pd.DataFrame(rows))


def test_moves_are_counted_held_against_the_paper_and_the_largest_named():
    found = told(
        row("SK_2_1", LARGER, 0.02),
        row("SK_3_1", SMALLER, -0.05, sd=0.025),
        row("SK_4_1", NONE_FOUND, 0.3),
        row("SK_5_1", LARGER, 0.01),
        row("SK_5_2", "stays (within 0.001)"),
    )
    assert found.sentences == (
        "From 1× to 2× attention moves to the larger kernel at 2 of 5 sites and to the smaller kernel at 1; no shift "
        "is found at 2.",
        "The SKNet paper reports a move to the larger kernel in low and middle layers and none in the highest: here it "
        "is found at 1 of 3 sites before the last stage and at 1 of 2 in it.",
        "The largest shift is -0.050 in gate units, at SK_3_1, 2.0 times the spread over images.",
    )
    assert found.claims[1] == "SK_3_1: moves to the smaller kernel, -0.050 [-0.052, -0.048]"
    assert len(found.claims) == 5
    assert max(map(len, found.claims)) <= 70
    assert found.next is None


def test_sigmoid_gates_open_and_close_and_the_paper_says_nothing_of_them():
    opens = row("SE_2_1", "opens", 0.03, quantity="mean gate")
    closes = row("SE_3_1", "closes", -0.01, quantity="mean gate")
    assert told(opens, closes).sentences == (
        "From 1× to 2× gates open at 1 of 2 sites and close at 1.",
        "The largest shift is +0.030 in gate units, at SE_2_1, 0.3 times the spread over images.",
    )


def test_what_cannot_be_judged_comes_first():
    nan = float("nan")
    equal = {**row("SA_2_1", "cannot be judged", quantity="no larger kernel"), "effect": nan, "ci_low": nan}
    assert told(equal).sentences == (
        "At 1 of 1 sites nothing can be judged: branches there have no kernels of different extent.",
    )
    assert told(equal).claims == ("SA_2_1: cannot be judged: branches without kernels of different extent",)
    few = {**row("SK_2_1", "cannot be judged", 0.2), "ci_low": nan, "ci_high": nan}
    both = told(few, row("SK_3_1", LARGER, 0.01))
    assert both.sentences[0] == "At 1 of 2 sites nothing can be judged: there are too few images or classes."
    assert "at 1 of 1 sites" in both.sentences[1]
    assert both.claims[0] == "SK_2_1: cannot be judged"


@pytest.mark.parametrize("verdict", [NONE_FOUND, "stays (within 0.001)"])
def test_without_a_shift_none_is_called_the_largest(verdict):
    first, *others = told(row("SK_2_1", verdict, 0.01)).sentences
    assert first == "From 1× to 2× no shift of attention is found at any of 1 sites."
    assert not any("largest" in line for line in others)
