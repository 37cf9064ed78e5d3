"""What the measures read: plain arrays with the right columns, and the absolute spread."""

import numpy as np
import pytest

from se_probe.analysis.gates import channel_facts, chosen_sites, site_facts, site_gates, site_moments
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
    gates = {name: np.tile([0.0, 1.0, 3.0], (4, 1)) for name in ("pug", "cliff")}
    site = GateSite("GRN_2_1", 2, 1, 3, activation="unbounded", bounded=False)
    moments = site_moments(RawRecording([site], ["pug"], {"GRN_2_1": gates}), site)
    assert set(moments.states) == {"constant"}


def test_unknown_site_is_named():
    with pytest.raises(SeProbeError) as error:
        chosen_sites(RECORDING, ["SE_9_9"])
    assert str(error.value) == "no site is called 'SE_9_9'; choose among SE_2_1, SE_3_1, SK_4_1, SE_5_1"


def test_gates_of_no_image_are_refused():
    raw = {"SE_2_1": {"pug": np.empty((0, 6))}}
    with pytest.raises(SeProbeError) as error:
        site_gates(RawRecording(SITES[:1], ["pug"], raw), SITES[0])
    assert str(error.value) == (
        "site SE_2_1 has gates of no image; expected images of pug, record some of them with --classes"
    )
