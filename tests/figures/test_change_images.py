"""Every picture is in its place, and those that are missing leave it empty."""

import numpy as np
import pandas as pd

from se_probe.figures.change_images import change_images


def test_pictures_are_in_rows_of_eight_for_each_image():
    conditions = ["plain", *(f"noise {place}" for place in range(1, 10))]
    rng = np.random.default_rng(0)
    pictures = {
        (path, name): rng.integers(0, 255, (8, 8, 3), dtype=np.uint8) for path in ("a", "b") for name in conditions
    }
    listed = pd.DataFrame([(*key, "pug") for key in pictures], columns=["path", "condition", "class"])
    missing = pictures.pop(("b", "noise 9"))
    figure = change_images(listed, pictures, demo=False)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(figure.axes) == 4 * 8
    assert [axes.get_title(loc="left") for axes in shown] == [*conditions, *conditions[:-1]]
    np.testing.assert_array_equal(shown[0].images[0].get_array(), pictures["a", "plain"])
    np.testing.assert_array_equal(shown[11].images[0].get_array(), pictures["b", "noise 1"])
    assert not any(np.array_equal(axes.images[0].get_array(), missing) for axes in shown)
