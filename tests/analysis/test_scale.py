"""Attention differences and changes against plain arithmetic on the raw arrays."""

import re

import numpy as np
import pytest

from se_probe.analysis.scale import (
    ATTENTION,
    GATE,
    NONE,
    class_units,
    class_values,
    example_images,
    example_values,
    image_values,
    middle_unit,
    quantity_of,
    response,
    stage_ends,
)
from se_probe.errors import SeProbeError
from tests.analysis.image_recording import ImageRecording, sk_site
from tests.analysis.raw_recording import GateSite

LABELS = ["pug"] * 3 + ["cliff"] * 2 + ["tabby"] * 2
SK, SE = sk_site(), GateSite("SE_3_1", 3, 1, 5)
SA = GateSite("SA_4_1", 4, 1, 4, 2, "softmax over branches", family="split attention")


def recordings(site=SK, scales=(1.0, 2.0), labels=LABELS, reference=("tabby",), seed=0):
    rng = np.random.default_rng(seed)
    shape = (len(labels), site.branches, site.channels) if site.branches > 1 else (len(labels), site.channels)
    return {s: ImageRecording([site], list(labels), {site.name: rng.uniform(0, 1, shape)}, reference) for s in scales}


def test_value_is_larger_less_smallest_kernel_and_change_the_mean_absolute_one():
    runs = recordings()
    table = image_values(runs)
    assert len(table) == 2 * 5
    assert table["quantity"].unique().tolist() == [ATTENTION]
    assert table["kernels"].unique().tolist() == ["5 − 3"]
    base = runs[1.0].raw["SK_2_1"][:5]
    for scale, run in runs.items():
        raw, rows = run.raw["SK_2_1"][:5], table[table["scale"] == scale]
        np.testing.assert_allclose(rows["value"], (raw[:, 1] - raw[:, 0]).mean(axis=1), rtol=1e-12)
        np.testing.assert_allclose(rows["change"], np.abs(raw - base).mean(axis=(1, 2)), rtol=1e-12)
        assert rows["path"].tolist() == run.paths[:5]
        assert rows["class"].tolist() == LABELS[:5]


def test_reversed_kernels_reverse_the_sign():
    runs = recordings()
    turned = {s: ImageRecording([sk_site(kernels=(5, 3))], LABELS, run.raw, ("tabby",)) for s, run in runs.items()}
    np.testing.assert_array_equal(image_values(turned)["value"], -image_values(runs)["value"])
    np.testing.assert_array_equal(class_values(turned)["value"], -class_values(runs)["value"])
    paths = example_images(runs[1.0])
    plain, other = (example_values(item, image_values(item), paths) for item in (runs, turned))
    lines = plain["part"] == "channels"
    assert not np.allclose(plain.loc[lines, "value"], other.loc[lines, "value"])
    raw = runs[1.0].raw["SK_2_1"][0]
    np.testing.assert_array_equal(plain.loc[lines, "value"][:6], raw[1])
    np.testing.assert_array_equal(other.loc[lines, "value"][:6], raw[0])


def test_of_three_branches_the_extremes_count():
    site = sk_site(kernels=(5, 3, 7))
    runs = recordings(site)
    raw = runs[1.0].raw["SK_2_1"][:5]
    rows = image_values(runs).query("scale == 1")
    np.testing.assert_allclose(rows["value"], (raw[:, 2] - raw[:, 1]).mean(axis=1), rtol=1e-12)


@pytest.mark.parametrize(("site", "quantity"), [(SE, GATE), (SA, NONE), (sk_site(kernels=(3, 3)), NONE)])
def test_sites_without_a_larger_kernel(site, quantity):
    runs = recordings(site)
    table = image_values(runs)
    assert quantity_of(site) == quantity
    assert table["quantity"].unique().tolist() == [quantity]
    if quantity == GATE:
        expected = runs[2.0].raw["SE_3_1"][:5].mean(axis=1)
        np.testing.assert_allclose(table.query("scale == 2")["value"], expected, rtol=1e-12)
        assert len(class_values(runs)) == 2 * 3
    else:
        assert table["value"].isna().all()
        assert (table.query("scale == 2")["change"] > 0).all()
        assert class_values(runs).empty


def test_response_gives_every_class_the_same_weight():
    runs = recordings(SE)
    table = response(image_values(runs)).set_index("scale")
    raw = runs[2.0].raw["SE_3_1"]
    assert table.loc[2.0, "value"] == pytest.approx((raw[:3].mean() + raw[3:5].mean()) / 2)
    assert table.loc[1.0, "change"] == 0
    assert table["images"].tolist() == [5, 5]


def test_class_values_are_those_of_every_class_seen():
    runs = recordings()
    table = class_values(runs)
    assert table["class"].tolist() == ["pug", "cliff", "tabby"] * 2
    assert table["class_index"].tolist() == [0, 1, 2] * 2
    raw = runs[2.0].raw["SK_2_1"][5:]
    row = table[(table["scale"] == 2) & (table["class"] == "tabby")].iloc[0]
    assert row["value"] == pytest.approx((raw[:, 1] - raw[:, 0]).mean())
    assert row["images"] == 2


def test_images_are_matched_by_path_and_those_not_at_every_scale_are_left_out():
    runs = recordings(reference=())
    one, two = runs[1.0], runs[2.0]
    order = [4, 2, 0, 1, 3, 6]
    shuffled = ImageRecording(
        [SK], [LABELS[i] for i in order], {"SK_2_1": two.raw["SK_2_1"][order]}, paths=[two.paths[i] for i in order]
    )
    table = image_values({1.0: one, 2.0: shuffled})
    expected = image_values(runs).query("path != @one.paths[5]")
    np.testing.assert_array_equal(table.to_numpy(), expected.to_numpy())


def test_no_common_image_is_an_error():
    runs = recordings()
    runs[2.0].paths = [f"other/{place}" for place in range(7)]
    message = (
        "no image is in the recordings of all 2 scales; expected the same images at each, "
        "record them in one run of se-probe scale."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        image_values(runs)


def test_units_of_the_paper():
    names = [(2, 3), (3, 4), (4, 6), (5, 3)]
    sites = [sk_site(f"SK_{s}_{b}", s, b) for s, last in names for b in range(1, last + 1)]
    assert stage_ends(sites) == ["SK_2_3", "SK_3_4", "SK_4_6", "SK_5_3"]
    assert middle_unit(sites) == "SK_3_4"
    assert class_units(sites) == ["SK_2_3", "SK_3_4", "SK_5_3"]
    assert class_units(sites[:3]) == ["SK_2_3"]


def test_every_sixteenth_of_256_channels():
    runs = recordings(sk_site(channels=256))
    table = example_values(runs, image_values(runs), ["cliff/3.png", "pug/0.png"])
    lines = table[(table["part"] == "channels") & (table["scale"] == 2) & (table["path"] == "cliff/3.png")]
    assert lines["channel"].tolist() == list(range(0, 256, 16))
    assert lines["class"].unique().tolist() == ["cliff"]
    np.testing.assert_array_equal(lines["value"], runs[2.0].raw["SK_2_1"][3, 1, ::16])
    units = table[table["part"] == "units"]
    assert len(units) == 2 * 2
    assert units["channel"].isna().all()


def test_examples_are_the_first_image_of_each_chosen_class():
    run = recordings()[1.0]
    assert example_images(run) == ["pug/0.png", "cliff/3.png"]
    assert example_images(run, limit=1) == ["pug/0.png"]
