"""Folders of noise images, for runs in which it does not matter what images show."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

QUIET = {"progress": False, "workers": 0}


def draw_noise(
    root: Path,
    classes: Sequence[str],
    count: int,
    size: tuple[int, int] = (40, 40),
    *,
    cells: tuple[int, int] | None = None,
    resample: Image.Resampling = Image.Resampling.BICUBIC,
) -> Path:
    """Put `count` images of noise, `size` high and wide, of so many random cells, into a folder for each class."""
    rng = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 255, (*(cells or size), 3), dtype=np.uint8)
            Image.fromarray(pixels).resize(size[::-1], resample).save(root / name / f"{index}.png")
    return root
