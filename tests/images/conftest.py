from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


def write_image(path: Path, value: int = 0) -> None:
    """An 8x8 PNG-coded grey square, whatever the file's name ends in: the first pixel says which file it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path, format="PNG")


@pytest.fixture
def tree(tmp_path):
    """Write images at the given relative paths, the i-th of value i, and return their root."""

    def write(*names: str) -> Path:
        for value, name in enumerate(names):
            write_image(tmp_path / name, value)
        return tmp_path

    return write


@pytest.fixture(scope="session")
def tiny_imagenet():
    root = SHARED / "data/tiny-imagenet-50/val"
    if not root.is_dir():
        pytest.skip("the real photographs of ../shared are not there")
    return root


@pytest.fixture(scope="session")
def imagenet_sample():
    root = SHARED / "data/imagenet-sample-120"
    if not root.is_dir():
        pytest.skip("the real photographs of ../shared are not there")
    return root
