"""The precision of float32 is what PyTorch was set to, and is raised only within the block."""

import pytest
import torch

from se_probe.recording import Execution
from se_probe.recording.precision import float32_precision, ieee_float32
from tests.recording.small import draw_images, run

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture
def ampere(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    yield monkeypatch
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    torch.backends.cuda.matmul.fp32_precision = "none"
    torch.backends.mkldnn.conv.fp32_precision = "none"


def test_pytorch_rounds_convolutions_on_cuda_by_default(ampere):
    assert float32_precision(CUDA) == {"convolution": "tf32", "matrix_product": "ieee"}
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    assert float32_precision(CUDA) == {"convolution": "ieee", "matrix_product": "tf32"}


def test_older_devices_have_no_tf32(ampere):
    ampere.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert float32_precision(CUDA) == {"convolution": "ieee", "matrix_product": "ieee"}


def test_within_the_block_it_is_ieee_and_then_as_before(ampere):
    torch.backends.mkldnn.conv.fp32_precision = "bf16"
    assert float32_precision(CPU)["convolution"] == "bf16"
    with ieee_float32():
        assert float32_precision(CUDA) == float32_precision(CPU) == {"convolution": "ieee", "matrix_product": "ieee"}
    assert float32_precision(CUDA)["convolution"] == "tf32"
    assert float32_precision(CPU)["convolution"] == "bf16"


@pytest.mark.parametrize("execution", [Execution(), Execution(exact=True)])
def test_a_recording_says_it(ampere, tmp_path, execution):
    torch.backends.mkldnn.conv.fp32_precision = "tf32"
    recording = run(draw_images(tmp_path / "data"), tmp_path / "recording.zarr", execution=execution)
    assert recording.provenance["execution"]["float32_precision"]["convolution"] == "tf32"
