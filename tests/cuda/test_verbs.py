"""Every verb on a CUDA device gives what it gives on the CPU, on the bundled demo."""

import numpy as np
import pytest

import se_probe

pytestmark = pytest.mark.cuda

FEW = {"demo": True, "per_class": 4, "reference_per_class": 1, "workers": 0}
QUIET = {"progress": False}


def gates(recording):
    sites = [recording.gates(site.name).values for site in recording.sites]
    return np.concatenate([values.reshape(len(values), -1) for values in sites], axis=1).astype(float)


@pytest.fixture(scope="module")
def on_the_cpu(tmp_path_factory):
    """A recording of the demo on the CPU, run as it is."""
    out = tmp_path_factory.mktemp("cpu") / "run"
    return se_probe.excite(out=out, device="cpu", exact=True, report=False, **FEW, **QUIET)


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({"exact": True}, 1e-5),
        ({}, 1e-5),
        ({"compile": True}, 1e-5),
        ({"batch_size": "auto"}, 1e-5),
        ({"dtype": "bfloat16"}, 0.1),
        ({"device_decode": True}, 1e-5),  # drawings are no JPEGs, so that Pillow decodes
    ],
    ids=str,
)
def test_excite_records_the_gates_of_the_cpu(device, on_the_cpu, tmp_path, options, tolerance):
    recording = se_probe.excite(out=tmp_path / "run", device=device, report=False, **options, **FEW, **QUIET)
    assert list(recording.images["path"]) == list(on_the_cpu.images["path"])
    assert np.abs(gates(recording) - gates(on_the_cpu)).max() <= tolerance
    if tolerance == 1e-5:
        assert recording.images["predicted"].equals(on_the_cpu.images["predicted"])
        np.testing.assert_allclose(recording.images["probability"], on_the_cpu.images["probability"], atol=1e-4)


def test_moments_on_the_device_are_those_of_the_cpu(device, on_the_cpu, tmp_path):
    recording = se_probe.excite(out=tmp_path / "run", device=device, report=False, **FEW, **QUIET)
    for site in recording.sites:
        here, there = (item.moments(site.name) for item in (on_the_cpu, recording))
        np.testing.assert_allclose(there["mean"], here["mean"], atol=1e-5)
        np.testing.assert_array_equal(there["count"], here["count"])


def test_ablate_measures_what_it_measures_on_the_cpu(device, tmp_path):
    options = {**FEW, **QUIET, "sites": ["SE_4_2"], "replacement": "mean", "report": False}
    here, there = (
        se_probe.ablate(out=tmp_path / name, device=place, **options).outcomes
        for name, place in (("here", "cpu"), ("there", device))
    )
    np.testing.assert_allclose(there["nll"], here["nll"], atol=1e-3)
    assert (there["top1"] == here["top1"]).all()


def test_fold_searches_and_saves(device, tmp_path):
    options = {"demo": True, "per_class": 6, "workers": 0, "max_loss": 50.0}
    run = se_probe.fold(out=tmp_path / "fold", device=device, **options, **QUIET)
    assert (tmp_path / "fold" / "run.json").is_file()
    assert run is not None


def test_scale_runs(device, tmp_path):
    options = {**FEW, "model": "demo:sk", "scales": [1.0, 1.5]}
    se_probe.scale(out=tmp_path / "scale", device=device, **options, **QUIET)
    assert list((tmp_path / "scale" / "figures").glob("*.png"))


def test_cost_times_gates_there(device):
    report = se_probe.cost("demo:se", device=device, rounds=15, reductions=(), progress=False)
    assert report is not None
