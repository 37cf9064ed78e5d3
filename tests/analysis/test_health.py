"""Health tables against the raw gates, and on two real networks."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from se_probe.analysis.health import channel_health, site_health
from se_probe.analysis.specificity import site_specificity
from se_probe.gates import GateRecorder, find_gates
from se_probe.models import load_model
from tests.analysis.raw_recording import GateSite, RawRecording, mixed_recording
from tests.shared_files import MODELS, TINY_IMAGENET, needs_shared

RECORDING = mixed_recording()


def test_verdicts_and_shares_of_states():
    table = site_health(RECORDING).set_index("site")
    assert table["verdict"].to_dict() == {
        "SE_2_1": "live",
        "SE_3_1": "collapsed",
        "SK_4_1": "live",
        "SE_5_1": "saturated",
    }
    assert table.loc["SE_5_1", ["dynamic", "open", "closed", "constant"]].tolist() == [0, 4 / 6, 2 / 6, 0]
    assert table.loc["SE_5_1", ["open_share", "closed_share"]].tolist() == pytest.approx([4 / 6, 2 / 6])
    assert table.loc["SE_3_1", "mean_gate"] == pytest.approx(0.5, abs=1e-3)
    assert table.loc["SE_2_1", "effective_rank_limit"] == 6


def test_shares_of_images_weigh_classes_equally():
    gates = {"pug": np.full((1, 6), 0.99), "goldfish": np.full((3, 6), 0.5), "cliff": np.full((2, 6), 0.5)}
    gates["pug"] = np.repeat(gates["pug"], 9, axis=0)
    recording = RawRecording(RECORDING.sites[:1], ["pug", "goldfish"], {"SE_2_1": gates})
    np.testing.assert_allclose(channel_health(recording)["open_share"], 0.5)
    row = site_health(recording).iloc[0]
    assert (row["open_share"], row["open_share_error"]) == (0.5, 0)


def test_standard_error_of_a_share_is_over_images_of_each_class():
    recording = mixed_recording(1)
    raw = recording.raw["SE_2_1"] = {
        name: np.where(gates > 0.5, 0.99, 0.5) for name, gates in recording.raw["SE_2_1"].items()
    }
    row = site_health(recording, ["SE_2_1"]).iloc[0]
    shares = [(raw[name] >= 0.95).mean(axis=1) for name in recording.chosen]
    assert row["open_share"] == pytest.approx(np.mean([share.mean() for share in shares]))
    error = np.sqrt(sum(share.var(ddof=1) / len(share) for share in shares)) / 3
    assert row["open_share_error"] == pytest.approx(error)


def test_entropy_is_over_branches_of_an_image():
    table = channel_health(RECORDING, ["SK_4_1"])
    raw = RECORDING.raw["SK_4_1"]
    entropies = [-(raw[name] * np.log2(raw[name])).sum(axis=1).mean(axis=0) for name in RECORDING.chosen]
    np.testing.assert_allclose(table["entropy"], np.tile(np.mean(entropies, axis=0), 2), rtol=1e-5)
    assert channel_health(RECORDING, ["SE_2_1"])["entropy"].isna().all()


def test_spread_over_all_images_is_between_and_within_classes():
    table = channel_health(RECORDING, ["SE_2_1"])
    assert np.all(table["sd"] > table["within_class_sd"])
    np.testing.assert_allclose(
        table["sd"] ** 2 - table["within_class_sd"] ** 2, table["between_class_sd"] ** 2, atol=0.005
    )


def test_unbounded_gates_have_no_saturation():
    site = GateSite("SE_2_1", 2, 1, 6, activation="unbounded", bounded=False)
    recording = RawRecording([site], RECORDING.chosen, RECORDING.raw)
    assert channel_health(recording)[["open_share", "closed_share"]].isna().all(axis=None)


def photograph(path):
    with Image.open(path) as image:
        return image.convert("RGB")


@pytest.fixture(scope="module", params=["seresnet50_quarter", "seresnet50_quarter_collapsed"])
def real(request):
    """The gates of 8 classes of photographs in a real network, whose health is known from its training."""
    torch.set_num_threads(1)
    model = load_model(f"{MODELS / 'tin50.py'}:{request.param}")
    sites = find_gates(model.network, model.input_size)
    raw = {site.name: {} for site in sites}
    wnids = json.loads((MODELS / "tin50_wnids.json").read_text())[::6][:8]
    with GateRecorder(model.network, sites) as recorder, torch.inference_mode():
        for wnid in wnids:
            paths = sorted((TINY_IMAGENET / wnid).glob("*.JPEG"))[:16]
            model.network(torch.stack([model.transform(photograph(path)) for path in paths]))
            for name, gates in recorder.gates.items():
                raw[name][wnid] = gates.double().numpy()
    return request.param, RawRecording(sites, wnids[:4], raw)


@needs_shared
def test_the_real_collapsed_network_is_collapsed_at_every_site_and_the_healthy_one_at_none(real):
    name, recording = real
    verdicts = site_health(recording)["verdict"].tolist()
    if name.endswith("collapsed"):
        assert verdicts == ["collapsed"] * 16
    else:
        assert verdicts == ["live"] * 15 + ["saturated"]


@needs_shared
def test_shares_of_variance_alone_would_not_tell_the_two_networks_apart(real):
    name, recording = real
    table = site_specificity(recording, resamples=9)
    assert table["omega_squared"].median() > 0.08
    assert (table["within_class_sd"].max() < 0.02) == name.endswith("collapsed")
