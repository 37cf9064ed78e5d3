"""Unusual gates against numpy, and the count that chance gives."""

import numpy as np
import pytest

from se_probe.analysis.unusual import THRESHOLD, evidence_place, unusual_gates
from se_probe.errors import SeProbeError
from tests.analysis.raw_recording import SITES, GateSite, RawRecording, mixed_recording

RECORDING = mixed_recording()


def own_gates(images=2, seed=9):
    rng = np.random.default_rng(seed)
    shapes = {site.name: (site.channels,) if site.branches == 1 else (site.branches, site.channels) for site in SITES}
    return {name: rng.uniform(size=(images, *shape)) for name, shape in shapes.items()}


def test_deviations_are_those_of_numpy_with_equal_weights_of_classes():
    gates = own_gates()
    found = unusual_gates(RECORDING, gates).table
    raw = list(RECORDING.raw["SE_2_1"].values())
    means = np.stack([rows.mean(axis=0) for rows in raw])
    within = np.mean([rows.var(axis=0, ddof=1) for rows in raw], axis=0)
    noise = np.mean([rows.var(axis=0, ddof=1) / len(rows) for rows in raw], axis=0)
    # The classes are the whole population: divisor K, and (K − 1)/K of the noise of the means.
    classes = len(raw)
    sd = np.sqrt(within + np.maximum(means.var(axis=0) - noise * (classes - 1) / classes, 0))
    expected = (gates["SE_2_1"][1] - means.mean(axis=0)) / sd
    rows = found[(found["site"] == "SE_2_1") & (found["image"] == 1)].sort_values("channel")
    np.testing.assert_allclose(rows["gate"], gates["SE_2_1"][1])
    np.testing.assert_allclose(rows["deviation"], expected, rtol=1e-6)


def test_rows_of_an_image_start_with_the_most_unusual_and_static_gates_are_left_out():
    found = unusual_gates(RECORDING, own_gates())
    for image in (0, 1):
        deviation = found.table[found.table["image"] == image]["deviation"].abs()
        known = deviation.dropna().to_numpy()
        assert (np.diff(known) <= 0).all()
        assert found.count[image] == (known > THRESHOLD).sum()
    branches = found.table[found.table["site"] == "SK_4_1"]
    assert set(branches["branch"]) == {0, 1}


def test_chance_is_what_images_of_the_recording_have():
    rng = np.random.default_rng(3)
    raw = {name: 0.5 + 0.05 * rng.normal(size=(400, 200)) for name in ("a", "b", "c")}
    made = RawRecording([GateSite("SE_2_1", 2, 1, 200)], ["a", "b"], {"SE_2_1": raw})
    found = unusual_gates(made, {"SE_2_1": 0.5 + 0.05 * rng.normal(size=(300, 200))})
    assert found.recorded.shape == (800,)
    assert found.recorded.mean() == pytest.approx(200 * 0.0027, abs=0.12)  # two tails of a normal beyond 3
    assert found.count.mean() == pytest.approx(found.recorded.mean(), abs=0.2)
    far = unusual_gates(made, {"SE_2_1": np.full((1, 200), 0.9)})
    assert far.count.tolist() == [200]
    assert "200 of 200 gates" in far.sentence(0)


def test_gates_of_another_network_are_refused():
    gates = own_gates()
    with pytest.raises(SeProbeError, match="SE_3_1"):
        unusual_gates(RECORDING, {name: values for name, values in gates.items() if name != "SE_3_1"})
    with pytest.raises(SeProbeError, match="SE_2_1 has 5 gates per image; expected the 6"):
        unusual_gates(RECORDING, gates | {"SE_2_1": gates["SE_2_1"][:, :5]})


def test_evidence_is_named_by_the_ninth_that_has_most_of_it():
    even = np.ones((6, 6))
    assert evidence_place(even) == "upper left 11 %"
    corner = even.copy()
    corner[4:, :2] += 9
    assert evidence_place(corner) == "lower left 56 %"
    centre = -np.ones((3, 3))
    centre[1, 1] = 2
    assert evidence_place(centre) == "centre 100 %"
    assert evidence_place(-even) is None
