"""Recordings of images that are decoded where the network runs, here on the CPU."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from se_probe.errors import SeProbeError
from se_probe.recording import Execution
from tests.recording.small import CLASSES, assert_same, run, small_model


@pytest.fixture
def photographs(tmp_path):
    """Smooth JPEGs of three classes, and one that is cut off."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(6):
            small = Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8))
            small.resize((40, 40), Image.Resampling.BICUBIC).save(tmp_path / f"images/{name}/{index}.jpg", quality=95)
    cut = tmp_path / "images" / "beta" / "2.jpg"
    cut.write_bytes(cut.read_bytes()[:200])
    return tmp_path / "images"


def test_gates_are_near_those_of_pillow_and_the_deviation_is_kept(photographs, tmp_path):
    by_pillow = run(photographs, tmp_path / "pillow.zarr", execution=Execution())
    lines = []
    on_device = run(photographs, tmp_path / "d.zarr", execution=Execution(device_decode=True), say=lines.append)
    assert on_device.skipped.equals(by_pillow.skipped)
    assert on_device.images["path"].equals(by_pillow.images["path"])
    facts = on_device.provenance["execution"]
    assert facts["decoded_by"] == "torchvision on cpu"
    assert by_pillow.provenance["execution"]["decoded_by"] == "Pillow"
    found, expected = (
        np.concatenate([recording.gates(site.name).values for site in recording.sites], axis=1)
        for recording in (on_device, by_pillow)
    )
    assert 0 < np.abs(found - expected).max() < 0.01
    # All chosen images were looked at before the run.
    assert facts["deviation"]["images"] == len(found) == 11
    assert facts["deviation"]["gate_largest"] == pytest.approx(np.abs(found - expected).max(), rel=1e-2)
    assert len([line for line in lines if line.startswith("note      class means of gates move by")]) == 1


class ImagesOnly:
    """Takes no tensor."""

    def __call__(self, image):
        return torch.from_numpy(np.array(image.resize((16, 16)))).permute(2, 0, 1) / 255


def test_where_it_cannot_be_done_pillow_decodes_and_the_run_says_so(photographs, tmp_path):
    model = replace(small_model(), transform=ImagesOnly())
    by_pillow = run(photographs, tmp_path / "pillow.zarr", model=model, execution=Execution())
    lines = []
    execution = Execution(device_decode=True)
    asked = run(photographs, tmp_path / "d.zarr", model=model, execution=execution, say=lines.append)
    assert_same(asked, by_pillow, atol=1e-6)
    assert asked.provenance["execution"]["decoded_by"] == "Pillow"
    assert lines[0].startswith("note      images cannot be decoded on cpu: ")
    assert lines[0].endswith("; Pillow decodes them")


def test_it_contradicts_an_exact_run():
    with pytest.raises(SeProbeError, match="an exact run and decoding on the device were requested"):
        Execution(exact=True, device_decode=True)
