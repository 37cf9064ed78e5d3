"""Folders of noise images, for runs in which it does not matter what images show."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def draw_noise(root: Path, classes: Sequence[str], count: int, size: tuple[int, int] = (40, 40)) -> Path:
    """Put `count` images of noise, `size` high and wide, into a folder for each class."""
    rng = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir()
        for index in range(count):
            Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(root / name / f"{index}.png")
    return root
