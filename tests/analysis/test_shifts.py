"""A planted shift is found with its size and direction, none where there is none; little data say so, and summaries."""

import numpy as np
import pandas as pd
import pytest

from se_probe.analysis.scale import image_values
from se_probe.analysis.shifts import overall_shifts, scale_summary, shift_sentences, shift_tests
from tests.analysis.image_recording import ImageRecording, attention, sk_site
from tests.analysis.raw_recording import GateSite

SITES = [sk_site("SK_2_1"), sk_site("SK_3_1", 3), sk_site("SK_4_1", 4), sk_site("SK_5_1", 5)]
SHIFTS = {"SK_2_1": 0.03, "SK_3_1": -0.02, "SK_4_1": 0.0, "SK_5_1": 0.0}


def planted(classes=12, images=6, *, scales=(1.0, 1.5, 2.0), seed=0, sites=SITES, noise=0.02):
    """Attention of the larger kernel changes by `SHIFTS` a unit of scale; SK_5_1 hardly moves at all."""
    rng = np.random.default_rng(seed)
    labels = [f"class {number}" for number in range(classes) for _ in range(images)]
    base = {site.name: rng.normal(0.5, 0.1, len(labels)) for site in sites}
    recordings = {}
    for scale in scales:
        raw = {
            site.name: attention(
                base[site.name] + SHIFTS[site.name] * (scale - 1),
                rng,
                len(labels),
                6,
                1e-5 if site.stage == 5 else noise,
            )
            for site in sites
        }
        recordings[scale] = ImageRecording(list(sites), labels, raw)
    return recordings


@pytest.mark.parametrize(("classes", "unit"), [(20, "class"), (4, "image")])
def test_planted_shifts_are_found(classes, unit):
    tests = overall_shifts(shift_tests(image_values(planted(classes, 18)))).set_index("site")
    assert tests["verdict"].to_dict() == {
        "SK_2_1": "moves to the larger kernel",
        "SK_3_1": "moves to the smaller kernel",
        "SK_4_1": tests.loc["SK_4_1", "verdict"],
        "SK_5_1": "stays (within 0.001)",
    }
    assert tests.loc["SK_4_1", "verdict"] in {"no shift found", "stays (within 0.001)"}
    for site, shift in SHIFTS.items():  # a difference of two branches that add up to one moves twice as far
        low, high = tests.loc[site, ["ci_low", "ci_high"]]
        margin = 0.5 * (high - low)
        assert low - margin <= 2 * shift <= high + margin
    assert tests["resampling_unit"].unique().tolist() == [unit]
    assert tests.loc["SK_2_1", "images"] == classes * 18
    assert tests.loc["SK_2_1", "risen"] > 0.9
    assert tests.loc[["SK_2_1", "SK_3_1"], "classes_risen"].tolist() == [classes, 0]
    assert tests.loc["SK_2_1", "sd"] == pytest.approx(0.2, rel=0.35)


def test_null_data_are_called_shifts_at_most_at_the_nominal_rate():
    """Holm keeps the chance of any wrong call over the sites of a run at 5 %: 40 runs of two null sites."""
    sites = [sk_site("SK_4_1", 4), sk_site("SK_4_2", 4, 2)]
    wrong = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        labels = [f"class {number}" for number in range(3) for _ in range(6)]
        runs = {
            scale: ImageRecording(
                sites, labels, {site.name: attention(rng.normal(0.5, 0.1, 18), rng, 18, 4) for site in sites}
            )
            for scale in (1.0, 2.0)
        }
        wrong += shift_tests(image_values(runs))["verdict"].str.startswith("moves").any()
    assert wrong <= 6


def test_pairs_are_successive_scales_and_the_ends():
    tests = shift_tests(image_values(planted()))
    pairs = tests[["from_scale", "to_scale"]].drop_duplicates().to_numpy().tolist()
    assert pairs == [[1.0, 1.5], [1.5, 2.0], [1.0, 2.0]]
    assert len(tests) == 3 * 4
    two = shift_tests(image_values(planted(scales=(1.0, 2.0))))
    assert two[["from_scale", "to_scale"]].drop_duplicates().to_numpy().tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(("classes", "images"), [(1, 7), (2, 1)])
def test_too_few_images_give_no_verdict(classes, images):
    """Seven images give p = 1/64 at best, which is no result for four sites."""
    tests = shift_tests(image_values(planted(classes, images)))
    assert tests["verdict"].unique().tolist() == ["cannot be judged"]


def test_equal_kernels_are_said_to_be_so():
    site = GateSite("SA_2_1", 2, 1, 4, 2, "softmax over branches", family="split attention")
    rng = np.random.default_rng(0)
    runs = {
        s: ImageRecording([site], ["pug"] * 20, {"SA_2_1": attention(np.full(20, 0.5), rng, 20, 4)}) for s in (1.0, 2.0)
    }
    tests = shift_tests(image_values(runs))
    assert tests["verdict"].tolist() == ["cannot be judged"]
    assert tests[["effect", "p", "p_holm", "risen"]].isna().all(axis=None)
    sentence = "SA_2_1: cannot be judged: branches without kernels of different extent"
    assert shift_sentences(tests) == [sentence]


def test_sigmoid_gates_open_or_close():
    rng = np.random.default_rng(1)
    sites = [GateSite("SE_2_1", 2, 1, 5), GateSite("SE_2_2", 2, 2, 5)]
    base = rng.uniform(0.3, 0.6, (40, 5))
    runs = {
        s: ImageRecording(
            sites, ["pug"] * 40, {"SE_2_1": base + 0.05 * s, "SE_2_2": base - 0.02 * s + rng.normal(0, 0.01, (40, 5))}
        )
        for s in (1.0, 2.0)
    }
    tests = shift_tests(image_values(runs))
    assert tests["verdict"].tolist() == ["opens", "closes"]
    np.testing.assert_allclose(tests["effect"], [0.05, -0.02], atol=0.003)


def test_a_shift_below_the_smallest_that_counts_is_none_or_open_and_never_found():
    """It was found with few images, whose interval reaches beyond the smallest, and called none with many."""
    verdicts = {}
    for images in (20, 500):
        rng = np.random.default_rng(0)
        base = rng.uniform(0.3, 0.6, (images, 5))
        moved = base + 0.0008 + rng.normal(0, 0.001, (images, 1))
        runs = {
            s: ImageRecording([GateSite("SE_2_1", 2, 1, 5)], ["pug"] * images, {"SE_2_1": gates})
            for s, gates in ((1.0, base), (2.0, moved))
        }
        (row,) = shift_tests(image_values(runs)).to_dict("records")
        assert row["p_holm"] < 0.05
        verdicts[images] = row["verdict"]
    assert verdicts == {20: "no shift found", 500: "stays (within 0.001)"}


def test_sentence_carries_the_numbers():
    row = {
        "site": "SK_3_4", "verdict": "moves to the larger kernel", "quantity": "attention difference",
        "kernels": "5 − 3", "effect": 0.0123, "ci_low": 0.01, "ci_high": 0.0151, "from_scale": 1.0, "to_scale": 1.5,
        "p_holm": 0.0004, "images": 200, "classes": 4, "classes_risen": 3, "sd": 0.031,
    }  # fmt: skip
    assert shift_sentences(pd.DataFrame([row])) == [
        "SK_3_4: moves to the larger kernel: attention difference (5 − 3) +0.0123 [+0.0100, +0.0151] from 1× to 1.5×, "
        "p 0.0004 after Holm, 200 images; it rose in 3 of 4 classes, spread over images 0.0310"
    ]


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
