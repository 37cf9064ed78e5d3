"""What the measures read: plain arrays with the right columns, and the absolute spread."""

import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from se_probe.analysis.gates import (
    channel_facts,
    channel_gates,
    chosen_sites,
    each_site,
    site_facts,
    site_gates,
    site_moments,
)
from se_probe.errors import SeProbeError
from tests.analysis.raw_recording import SITES, GateSite, RawRecording, mixed_recording

RECORDING = mixed_recording()


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_columns_of_moments_and_gates_are_the_same_channels(site):
    moments, gates = site_moments(RECORDING, site), site_gates(RECORDING, site)
    assert gates.names == ["pug", "goldfish", "airliner"]
    for name, group in zip(gates.names, gates.groups, strict=True):
        column = moments.names.index(name)
        raw = RECORDING.raw[site.name][name]
        np.testing.assert_allclose(group, raw.reshape(len(raw), -1), rtol=1e-6)
        np.testing.assert_allclose(moments.mean[:, column], raw.reshape(len(raw), -1).mean(axis=0), rtol=1e-12)


def test_branches_and_channels_are_named():
    facts = channel_facts(site_moments(RECORDING, SITES[2]))
    assert facts["branch"].tolist() == [0, 0, 0, 1, 1, 1]
    assert facts["channel"].tolist() == [0, 1, 2, 0, 1, 2]
    raw = RECORDING.raw["SK_4_1"]
    means = np.stack([gates[:, 1, 2].mean() for gates in raw.values()])
    noise = np.mean([gates[:, 1, 2].var(ddof=1) / len(gates) for gates in raw.values()])
    assert facts["between_class_sd"].iloc[5] == pytest.approx(np.sqrt(means.var(ddof=1) - noise), rel=1e-9)
    within = np.mean([gates[:, 1, 2].var(ddof=1) for gates in raw.values()])
    assert facts["within_class_sd"].iloc[5] == pytest.approx(np.sqrt(within), rel=1e-10)


def test_classes_with_one_image_are_left_out_where_others_have_more():
    raw = {"SE_2_1": {"pug": np.eye(6), "cliff": np.full((1, 6), 9.0), "tabby": np.ones((2, 6))}}
    moments = site_moments(RawRecording(SITES[:1], ["pug"], raw), SITES[0])
    assert moments.names == ["pug", "tabby"]
    assert site_facts(moments)["images"] == 8


def test_one_image_a_class_says_nothing_about_health():
    raw = {"SE_2_1": {name: np.full((1, 6), 0.5) for name in ("pug", "cliff")}}
    facts = site_facts(site_moments(RawRecording(SITES[:1], ["pug"], raw), SITES[0]))
    assert facts["verdict"] == "unknown"
    assert np.isnan(facts["within_class_sd"])


def test_unbounded_gates_are_neither_open_nor_closed():
    gates = {name: np.tile([0.0, 1.0, 3.0], (10, 1)) for name in ("pug", "cliff")}
    site = GateSite("GRN_2_1", 2, 1, 3, activation="unbounded", bounded=False)
    moments = site_moments(RawRecording([site], ["pug"], {"GRN_2_1": gates}), site)
    assert set(moments.states) == {"constant"}


def test_fewer_than_twenty_images_give_no_state():
    """Two images of one class made most live gates look still."""
    site = GateSite("SE_2_1", 2, 1, 6)
    for images, states in ((9, {"unknown"}), (10, {"dynamic"})):
        gates = {name: np.random.default_rng(0).uniform(size=(images, 6)) for name in ("pug", "cliff")}
        moments = site_moments(RawRecording([site], ["pug"], {"SE_2_1": gates}), site)
        assert set(moments.states) == states
        assert site_facts(moments)["verdict"] == ("unknown" if images == 9 else "live")


def test_unknown_site_is_named():
    with pytest.raises(SeProbeError) as error:
        chosen_sites(RECORDING, ["SE_9_9"])
    assert str(error.value) == "no site is called 'SE_9_9'; choose among SE_2_1, SE_3_1, SK_4_1, SE_5_1"


def test_gates_of_no_image_are_refused():
    raw = {"SE_2_1": {"pug": np.empty((0, 6))}}
    with pytest.raises(SeProbeError) as error:
        site_gates(RawRecording(SITES[:1], ["pug"], raw), SITES[0])
    assert str(error.value) == (
        "site SE_2_1 has no gates of any image; expected images of pug; record some with --classes"
    )


def test_every_image_of_a_class_has_its_gate_and_classes_keep_their_order():
    table = channel_gates(RECORDING, "SK_4_1", 2, branch=1)
    assert list(table["class"].unique()) == RECORDING.chosen
    for name in RECORDING.chosen:
        gates = table.loc[table["class"] == name, "gate"]
        np.testing.assert_allclose(gates, RECORDING.raw["SK_4_1"][name][:, 1, 2], rtol=1e-6)


def test_the_image_is_its_row_in_the_recording():
    table = channel_gates(RECORDING, "SE_2_1", 0)
    stored = RECORDING.gates("SE_2_1")
    assert sorted(table["image"]) == list(range(stored.sizes["image"]))
    np.testing.assert_allclose(table["gate"], stored.to_numpy()[table["image"], 0])


@pytest.mark.parametrize(
    ("channel", "branch", "message"),
    [
        (6, 0, "SE_2_1 has no channel 6; expected 0 to 5"),
        (-1, 0, "SE_2_1 has no channel -1; expected 0 to 5"),
        (0, 1, "SE_2_1 has no branch 1; expected 0 to 0"),
    ],
)
def test_a_channel_that_is_not_there(channel, branch, message):
    with pytest.raises(SeProbeError, match=f"^{message}$"):
        channel_gates(RECORDING, "SE_2_1", channel, branch)


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_results_are_in_the_order_of_the_sites_whichever_ends_first():
    def measure(site):
        time.sleep(0.05 if site == "first" else 0)
        return site.upper()

    assert each_site(measure, ["first", "second", "third"]) == ["FIRST", "SECOND", "THIRD"]


def test_linear_algebra_has_one_thread_meanwhile_and_as_many_as_before_after():
    before = blas_threads()
    assert before
    found = each_site(lambda _site: blas_threads(), ["first", "second"])
    assert found == [[1] * len(before)] * 2
    assert blas_threads() == before


def test_an_error_comes_through():
    with pytest.raises(ZeroDivisionError):
        each_site(lambda site: 1 / site, [1, 0, 2])
