"""A sound recording, and a copy of it that a test may damage."""

import shutil

import pytest
import torch

from tests.recording.small import draw_images, run


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("sound")
    return run(draw_images(folder / "data"), folder / "recording.zarr").path


@pytest.fixture
def copy(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "recording.zarr")
