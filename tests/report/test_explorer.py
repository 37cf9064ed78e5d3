import base64

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import se_probe
from se_probe.recording import open_recording
from se_probe.report import Thumbnails, explorer
from se_probe.report.explorer import EXTREMES, STANDING_OUT, explorer_data
from tests.report import runs


def codes(text):
    return np.frombuffer(base64.b64decode(text), dtype="<u2")


def unpacked(value, *shape):
    raw = codes(value["data"])
    return np.where(raw == 65535, np.nan, value["low"] + value["step"] * raw).reshape(shape)


@pytest.fixture(scope="module")
def recording(plain_run):
    return open_recording(plain_run)


def scored(recording):
    rows = [
        {"site": site.name, "branch": b, "channel": c, "selectivity": 0.1 * c, "best_class": f"class {c % 2}"}
        for site in recording.sites
        for b in range(site.branches)
        for c in range(site.channels)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


@pytest.fixture(scope="module")
def data(recording):
    return explorer_data(recording, scored(recording), Thumbnails({"0/3.png": b"picture"}, ""))


@pytest.mark.parametrize(("place", "name", "branches", "channels"), [(0, "SE_2_1", 1, 12), (1, "SK_3_1", 2, 6)])
def test_curves_are_means_and_intervals_of_the_gates(recording, data, place, name, branches, channels):
    site = data["sites"][place]
    assert site["name"] == name
    mean, sd = (unpacked(site[kind], 4, branches, channels) for kind in ("mean", "sd"))
    labelled = recording.gates(name)
    groups = [labelled.values[labelled["class"] == item].reshape(-1, branches, channels) for item in recording.chosen]
    for group, gates in enumerate(groups):
        np.testing.assert_allclose(mean[group], gates.mean(0), atol=2e-5)
        np.testing.assert_allclose(sd[group], gates.std(0, ddof=1), atol=2e-5)
        upper = stats.t.interval(0.95, len(gates) - 1, gates.mean(0), stats.sem(gates, axis=0))[1]
        half = data["classes"][group]["factor"] * sd[group]
        np.testing.assert_allclose(half, upper - gates.mean(0), atol=2e-5)
    np.testing.assert_allclose(mean[3], np.mean([gates.mean(0) for gates in groups], axis=0), atol=2e-5)
    errors = np.sqrt(sum(stats.sem(gates, axis=0) ** 2 for gates in groups)) / 3
    half = unpacked(site["referenceHalf"], branches, channels)
    np.testing.assert_allclose(half, 1.959964 * errors, atol=2e-5)


def test_an_image_names_the_channels_in_which_it_is_furthest_from_the_mean(recording, data):
    gates = {site.name: recording.gates(site.name).values.reshape(24, -1).astype(float) for site in recording.sites}
    place = next(number for number, image in enumerate(data["images"]) if image["path"] == "2/7.png")
    found = data["images"][place]["channels"]
    assert 0 < len(found) <= STANDING_OUT
    distances = []
    for name, values in gates.items():
        moving = values.std(axis=0) >= 0.02
        far = np.where(moving, (values - values.mean(axis=0)) / np.where(moving, values.std(axis=0), 1), 0)
        distances += [(abs(z), [s.name for s in recording.sites].index(name), at) for at, z in enumerate(far[place])]
    expected = [(site, at) for z, site, at in sorted(distances, reverse=True)[:STANDING_OUT] if z > 0]
    assert {(site, at) for site, at, _, _ in found} == set(expected)
    site, at, gate, _ = found[0]
    assert gate == pytest.approx(gates[recording.sites[site].name][place, at], abs=1e-4)


def test_other_classes_follow_the_chosen_ones_as_far_as_there_is_room(tmp_path, monkeypatch):
    runs.run(tmp_path)
    options = {"data": tmp_path / "data", "model": runs.network(), **runs.QUIET}
    se_probe.excite(["1"], out=tmp_path / "one", **options)
    recording = open_recording(tmp_path / "one")
    data = explorer_data(recording, scored(recording), Thumbnails({}, ""))
    assert [(item["name"], item["chosen"]) for item in data["classes"]] == [
        ("cliff", True),
        ("all classes (3)", True),
        ("goldfish", False),
        ("tabby", False),
    ]
    means = recording.moments("SE_2_1")["mean"].sel({"class": "tabby"}).values
    np.testing.assert_allclose(unpacked(data["sites"][0]["mean"], 4, 12)[3], means, atol=2e-5)
    assert data["absent"] == 0
    monkeypatch.setattr(explorer, "OTHER_BYTES", 24 * explorer.BYTES_A_CLASS)
    data = explorer_data(recording, scored(recording), Thumbnails({}, ""))
    assert [item["name"] for item in data["classes"]] == ["cliff", "all classes (3)", "goldfish"]
    assert data["absent"] == 1


def test_the_images_that_open_a_channel_most_and_least(recording, data):
    """By construction, the first channel of the first site follows the brightness of an image."""
    site = data["sites"][0]
    places = codes(site["extremeImages"]).reshape(12, 2, EXTREMES)
    values = unpacked(site["extremeValues"], 12, 2, EXTREMES)
    paths = [[data["images"][place]["path"] for place in row] for row in places[0]]
    assert paths == [
        ["2/7.png", "2/6.png", "2/5.png", "2/4.png", "2/3.png", "2/2.png"],
        ["0/0.png", "0/1.png", "0/2.png", "0/3.png", "0/4.png", "0/5.png"],
    ]
    gates = recording.gates("SE_2_1").values
    np.testing.assert_allclose(values[:, 0], np.sort(gates, axis=0)[::-1][:EXTREMES].T, atol=2e-5)
    np.testing.assert_allclose(values[:, 1], np.sort(gates, axis=0)[:EXTREMES].T, atol=2e-5)


def test_branches_have_extremes_of_their_own(recording, data):
    places = codes(data["sites"][1]["extremeImages"]).reshape(2, 6, 2, EXTREMES)
    gates = recording.gates("SK_3_1").values
    assert places[1, 4, 0, 0] == gates[:, 1, 4].argmax()
    assert places[1, 4, 1, 0] == gates[:, 1, 4].argmin()


def test_scores_come_in_the_order_of_channels(data):
    np.testing.assert_allclose(
        unpacked(data["sites"][1]["scores"]["selectivity"], 2, 6)[1], 0.1 * np.arange(6), atol=1e-5
    )
    named = data["sites"][0]["categories"]["best_class"]
    assert [named["names"][code] for code in codes(named["data"])] == ["class 0", "class 1"] * 6
    assert list(data["scores"]) == ["selectivity"]


def test_pictures_only_where_there_are_any(data):
    pictures = {image["path"]: image["picture"] for image in data["images"]}
    assert pictures.pop("0/3.png") == base64.b64encode(b"picture").decode()
    assert set(pictures.values()) == {None}


def test_classes_and_their_reference(data):
    assert [(item["name"], item["images"]) for item in data["classes"]] == [
        ("goldfish", 8),
        ("cliff", 8),
        ("tabby", 8),
        ("all classes (3)", 24),
    ]


def test_without_a_reference_there_is_no_curve_of_all_classes(tmp_path):
    recording = open_recording(runs.run(tmp_path, per_class=1, reference_per_class=0))
    data = explorer_data(recording, scored(recording), Thumbnails({}, ""))
    assert [item["name"] for item in data["classes"]] == ["goldfish", "cliff", "tabby"]
    # One image a class: its gate, and no spread.
    assert unpacked(data["sites"][0]["mean"], 3, 12).shape == (3, 12)
    assert np.isnan(unpacked(data["sites"][0]["sd"], 3, 12)).all()
