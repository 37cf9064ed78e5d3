from pathlib import Path

import pytest

from tests.images.helpers import write_image

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


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
