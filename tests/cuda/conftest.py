"""The device of these tests, float32 without TensorFloat-32, and why they are skipped."""

import os

import pytest
import torch

# "cpu" rehearses these tests where there is no device.
DEVICE = os.environ.get("SE_PROBE_CUDA_TESTS_ON", "cuda")


@pytest.fixture(autouse=True)
def exact_float32():
    """Compute in float32 proper; PyTorch lets convolutions round their inputs to TensorFloat-32 by default."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    yield
    matmul.allow_tf32, cudnn.allow_tf32 = before


@pytest.fixture
def device() -> str:
    """Return the device; without one the test is skipped."""
    if DEVICE == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device is available")
    return DEVICE
