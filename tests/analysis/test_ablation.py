"""Tables of an ablation against numpy by hand, on outcomes with planted effects."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from se_probe.analysis.ablation import ablation_classes_table, ablation_sites_table, ablation_tables, with_savings
from se_probe.analysis.stats.paired import Strata, paired_interval
from se_probe.errors import SeProbeError
from tests.analysis.ablated import SITES, from_outcomes, planted

CLASSES = ["pug"] * 6 + ["cliff"] * 3
ROWS = [("mean at SE_2_1", "site", "SE_2_1", "mean"), ("mean at both", "sites", "SE_2_1,SE_5_1", "mean")]


def by_hand(**changes):
    rng = np.random.default_rng(3)
    outcomes = {
        "clean_top1": [True, True, True, True, False, False, True, False, False],
        "clean_top5": [True] * 8 + [False],
        "clean_nll": rng.gamma(2, 0.5, 9),
        "top1": [[True, True, True, False, False, True, True, False, False], [False] * 9],
        "top5": [[True] * 9, [False] * 9],
        "nll": rng.gamma(2, 0.6, (2, 9)),
        "kl": rng.gamma(1, 0.1, (2, 9)),
        "agree": [[True] * 6 + [False] * 3, [False] * 9],
    }
    return from_outcomes(ROWS, CLASSES, **{**outcomes, **changes})


def mean_of_classes(values):
    return (np.mean(values[..., :6], axis=-1) + np.mean(values[..., 6:], axis=-1)) / 2


def test_every_class_weighs_the_same():
    made = by_hand()
    table, outcomes = ablation_sites_table(made), made.outcomes
    assert table["intervention"].tolist() == ["mean at SE_2_1", "mean at both"]
    assert table[["images", "classes", "labelled", "unchanged"]].to_numpy().tolist() == [[9, 2, 9, 0]] * 2
    for name in ("top1", "top5", "nll"):
        clean, changed = outcomes[f"clean_{name}"].to_numpy() * 1.0, outcomes[name].to_numpy() * 1.0
        np.testing.assert_allclose(table[f"clean_{name}"], mean_of_classes(clean))
        np.testing.assert_allclose(table[f"changed_{name}"], mean_of_classes(changed))
        np.testing.assert_allclose(table[f"{name}_change"], mean_of_classes(changed - clean), atol=1e-12)
    np.testing.assert_allclose(table["kl"], mean_of_classes(outcomes["kl"].to_numpy()))
    np.testing.assert_allclose(table["agreement"], [0.5, 0.0])
    assert set(table["gates_from"]) == {"reports/net/recording.zarr"}


def test_limits_are_those_of_the_kernels_within_classes():
    made = by_hand()
    table = ablation_sites_table(made, seed=5)
    change = (made.outcomes["nll"] - made.outcomes["clean_nll"]).to_numpy().T
    expected = paired_interval(Strata((change[:6], change[6:]), "image"), seed=5)
    np.testing.assert_allclose(table["nll_ci_low"], expected.low)
    np.testing.assert_allclose(table["nll_ci_high"], expected.high)
    for name in ("top1", "top5", "agreement"):
        assert np.all(table[f"{name}_ci_low"] < table[f"{name}_ci_high"])


def test_classes_have_rows_of_their_own_in_the_order_of_interventions():
    made = by_hand()
    table = ablation_classes_table(made)
    assert table[["intervention", "class"]].to_numpy().tolist() == [
        [name, label] for name in ("mean at SE_2_1", "mean at both") for label in ("pug", "cliff")
    ]
    assert table["class_index"].tolist() == [0, 1, 0, 1]
    change = (made.outcomes["nll"] - made.outcomes["clean_nll"]).to_numpy()
    np.testing.assert_allclose(
        table["nll_change"], [change[0, :6].mean(), change[0, 6:].mean(), change[1, :6].mean(), change[1, 6:].mean()]
    )
    np.testing.assert_allclose(table["top1_change"], [0, 0, -4 / 6, -1 / 3])
    np.testing.assert_allclose(table["clean_top1"], [4 / 6, 1 / 3] * 2)


def test_images_without_a_unit_count_for_kl_and_agreement_only():
    known = np.array([True] * 6 + [False] * 3)
    indices = pd.array([4] * 6 + [pd.NA] * 3, dtype="Int64")
    made = by_hand()
    part = by_hand(labelled=known, indices=indices, nll=made.outcomes["nll"].where(known).to_numpy())
    table = ablation_sites_table(part)
    whole = ablation_sites_table(made)
    pd.testing.assert_frame_equal(table.filter(regex="kl|agreement").filter(regex="^k|^a"), whole.filter(regex="^k|^a"))
    assert table["labelled"].tolist() == [6, 6]
    np.testing.assert_allclose(table["top1_change"], [0, -4 / 6])
    classes = ablation_classes_table(part)
    cliff = classes[classes["class"] == "cliff"]
    assert cliff["class_index"].isna().all()
    assert cliff[["top1_change", "nll_ci_low", "clean_nll"]].isna().all(axis=None)
    assert cliff["kl"].notna().all()


def test_without_any_unit_there_is_no_accuracy():
    table = ablation_sites_table(by_hand(labelled=np.zeros(9, dtype=bool)))
    assert table[["clean_top1", "top1_change", "nll_change", "nll_ci_low", "nll_p", "nll_p_holm"]].isna().all(axis=None)
    assert table[["kl", "kl_ci_low", "agreement_ci_high"]].notna().all(axis=None)


def test_what_changes_nothing_is_said_to_and_has_no_interval_of_width_zero():
    made = by_hand()
    same = {f"{name}": np.stack([made.outcomes[f"clean_{name}"].to_numpy()] * 2) for name in ("top1", "top5", "nll")}
    table = ablation_sites_table(by_hand(**same, kl=np.zeros((2, 9)), agree=np.ones((2, 9), dtype=bool)))
    assert table["unchanged"].tolist() == [9, 9]
    assert table[["nll_ci_low", "nll_ci_high", "kl_ci_low", "kl_ci_high"]].isna().all(axis=None)
    assert table[["nll_change", "kl", "top1_change"]].eq(0).all(axis=None)
    assert table["nll_p"].tolist() == [1, 1]
    assert (table["top1_ci_low"] < 0).all()
    assert (table["top1_ci_high"] > 0).all()
    assert (table["agreement_ci_low"] < 0.8).all()


def test_one_image_a_class_is_one_sample_and_single_images_beside_others_have_no_limits():
    one_each = planted({"SE_2_1": 0.2}, classes=40, images=1)
    table = ablation_sites_table(one_each)
    assert table[["top1_ci_low", "nll_ci_low", "kl_ci_low", "agreement_ci_low"]].notna().all(axis=None)
    assert ablation_classes_table(one_each)[["nll_ci_low", "kl_ci_low"]].isna().all(axis=None)
    made = by_hand()
    mixed = from_outcomes(
        ROWS,
        ["pug"] * 8 + ["cliff"],
        **{name: values.to_numpy() for name, values in made.outcomes.data_vars.items()},
    )
    limits = ablation_sites_table(mixed)[["top1_ci_low", "nll_ci_low", "kl_ci_high"]]
    assert limits.isna().all(axis=None)


def test_planted_effects_lie_in_their_intervals_and_tests_find_them():
    worth = dict(zip(SITES, (0.2, 0.0, 0.1, 0.0, 0.05, 0.0, 0.02, 0.0), strict=True))
    table = ablation_sites_table(planted(worth, images=50))
    alone = table[table["scope"] == "site"].set_index("sites")
    for site, effect in worth.items():
        row = alone.loc[site]
        assert row["nll_ci_low"] - 0.001 <= effect <= row["nll_ci_high"] + 0.001
        assert row["top1_ci_low"] <= -0.7 * effect <= row["top1_ci_high"]
    assert (alone.loc[["SE_2_1", "SE_3_1", "SE_4_1", "SE_5_1"], "nll_p_holm"] < 0.05).all()
    assert (alone.loc[["SE_2_2", "SE_3_2", "SE_4_2", "SE_5_2"], "nll_p_holm"] > 0.05).all()
    assert table.loc[table["scope"] != "site", "nll_p_holm"].isna().all()
    assert table["nll_p"].notna().all()
    smallest = alone["nll_p"].min()
    assert alone["nll_p_holm"].min() == pytest.approx(8 * smallest)


def test_savings_add_up_over_sites_for_constants_only():
    table = pd.DataFrame(
        {
            "sites": ["SE_2_1", "SE_2_1,SE_5_1", "SE_2_1", "SE_2_1", "SE_5_1", "SE_9_9"],
            "replacement": ["identity", "mean", "shuffle", "class-mean", "branch:1", "mean"],
        }
    )
    costs = pd.DataFrame({"site": ["SE_2_1", "SE_5_1"], "parameters": [100, 3000], "multiply_adds": [7, 11]})
    saved = with_savings(table, costs)
    np.testing.assert_array_equal(saved["parameters_saved"], [100, 3100, np.nan, np.nan, 3000, np.nan])
    np.testing.assert_array_equal(saved["multiply_adds_saved"], [7, 18, np.nan, np.nan, 11, np.nan])


def test_tables_by_the_names_of_their_files():
    made = by_hand()
    tables = ablation_tables(made)
    pd.testing.assert_frame_equal(tables["ablation_sites.csv"], ablation_sites_table(made))
    pd.testing.assert_frame_equal(tables["ablation_classes.csv"], ablation_classes_table(made))
    costs = pd.DataFrame({"site": ["SE_2_1", "SE_5_1"], "parameters": [1, 2], "multiply_adds": [3, 4]})
    assert ablation_tables(made, costs)["ablation_sites.csv"]["parameters_saved"].tolist() == [1, 3]


def test_outcomes_that_do_not_fit_are_refused():
    made = by_hand()
    made.images = made.images.iloc[:4]
    with pytest.raises(SeProbeError) as error:
        ablation_sites_table(made)
    assert str(error.value) == (
        "the ablation has outcomes of 2 interventions on 9 images and tables of 2 and 4; expected equal numbers, one "
        "or more of each"
    )
    made = by_hand()
    made.outcomes = xr.Dataset.transpose(made.outcomes, "image", "intervention")
    pd.testing.assert_frame_equal(ablation_sites_table(made), ablation_sites_table(by_hand()))
