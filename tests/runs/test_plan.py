"""What a run resolves before anything is written: another input size, default classes, devices, gates left out."""

import numpy as np
import pytest
import torch
from PIL import Image

import se_probe
from se_probe.errors import SeProbeError
from se_probe.gates import find_gates
from se_probe.models import load_model, with_input_size
from se_probe.recording import open_recording
from se_probe.runs.plan import device_of, label_of, load_network
from se_probe.runs.settings import ExciteSettings
from tests.runs.noise import draw_noise
from tests.told import told


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    torch.set_num_threads(1)
    return draw_noise(tmp_path_factory.mktemp("photographs"), ("alpha", "goldfish"), 3, (80, 90))


def test_another_input_size(photographs, tmp_path):
    options = {"model": "test_efficientnet", "random_weights": True, "workers": 0, "report": False, "progress": False}
    run = se_probe.excite(data=photographs, input_size=64, exact=True, out=tmp_path / "run", **options)
    assert run.provenance["model"]["preprocessing"]["input_size"] == [3, 64, 64]
    model = load_model("test_efficientnet", random_weights=True)
    resized = with_input_size(model, (64, 64))
    image = Image.open(photographs / run.images["path"][0]).convert("RGB")
    batch = resized.transform(image)[None]
    assert batch.shape == (1, 3, 64, 64)
    site = find_gates(model.network, (3, 64, 64))[0]
    caught = []
    model.network.get_submodule(site.hook_point.module).register_forward_hook(lambda _m, _i, out: caught.append(out))
    with torch.no_grad():
        model.network(batch)
    np.testing.assert_allclose(run.gates(site.name)[0].values, caught[0].flatten().numpy(), atol=1e-6)


def test_an_input_size_needs_a_stated_preprocessing():
    model = load_model("test_efficientnet", random_weights=True)
    bare = type(model)(**{**vars(model), "preprocessing": {"mean": [0, 0, 0]}})
    with pytest.raises(SeProbeError, match="does not state interpolation, std, crop_pct, which --input-size needs"):
        with_input_size(bare, 64)


def test_data_without_the_papers_classes_get_classes_of_their_own(photographs, tmp_path):
    options = {"model": "test_efficientnet", "random_weights": True, "workers": 0, "report": False, "progress": False}
    with told() as lines:
        run = se_probe.excite(data=photographs, out=tmp_path / "run", **options)
    assert run.chosen == ["goldfish", "alpha"]
    (note,) = [line for line in lines if "chosen from the data" in line]
    assert "goldfish, alpha" in note
    assert open_recording(tmp_path / "run").complete


def test_a_network_is_named_and_loaded_by_its_settings():
    network = load_model("test_efficientnet", random_weights=True)
    assert load_network(ExciteSettings(model=network), "default") is network
    assert label_of(network) == "test_efficientnet"
    assert label_of(torch.nn.Identity()) == "Identity"
    assert label_of("timm/name") == "timm/name"


@pytest.mark.parametrize("device", ["meta", "nonsense", "cuda:99"])
def test_a_device_must_compute(device):
    with pytest.raises(SeProbeError, match=f"^the device '{device}' cannot be used .*; try --device cpu"):
        device_of(device)
    assert device_of("cpu") == "cpu"
