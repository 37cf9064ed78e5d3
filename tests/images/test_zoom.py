"""Enlarged images against plain Pillow and against the factors of the drawings."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from se_probe.demo import draw, object_mask, stimulus_factors
from se_probe.images import demo_images
from se_probe.images.zoom import Drawings, Enlarge, enlarge, resampling
from tests.shared_files import SAMPLE_120, needs_shared


def noise(width, height):
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def pixels(image):
    return torch.from_numpy(np.array(image))


@pytest.mark.parametrize(
    ("size", "scale", "box"),
    [
        ((64, 64), 2.0, (16, 16, 48, 48)),
        ((64, 64), 1.5, (10, 10, 53, 53)),  # 64 / 1.5 = 42.67, so 43 pixels, 10 to the left and 11 to the right
        ((90, 60), 1.5, (15, 10, 75, 50)),
        ((3, 2), 8.0, (1, 0, 2, 1)),  # never less than a pixel
    ],
)
@pytest.mark.parametrize("filter_", [Image.Resampling.BICUBIC, Image.Resampling.BILINEAR])
def test_crop_and_resize_of_pillow_bit_for_bit(size, scale, box, filter_):
    image = noise(*size)
    expected = np.array(image.crop(box).resize(size, filter_))
    np.testing.assert_array_equal(np.array(enlarge(image, scale, filter_)), expected)


def test_scale_one_changes_nothing():
    image = noise(37, 50)
    np.testing.assert_array_equal(np.array(enlarge(image, 1.0, Image.Resampling.BICUBIC)), np.array(image))


@needs_shared
def test_a_photograph_keeps_its_size_and_doubles_its_centre():
    image = Image.open(next(iter(sorted(SAMPLE_120.glob("*.JPEG"))))).convert("RGB")
    larger = enlarge(image, 2.0, Image.Resampling.BILINEAR)
    assert larger.size == image.size
    width, height = image.size
    small = larger.resize((round(width / 2), round(height / 2)), Image.Resampling.BOX)
    left, top = (width - small.width) // 2, (height - small.height) // 2
    centre = np.array(image.crop((left, top, left + small.width, top + small.height)), dtype=float)
    assert np.abs(np.array(small, dtype=float) - centre).mean() < 6


def test_the_transform_hands_on_the_enlarged_image_and_survives_pickling():
    transform = pickle.loads(pickle.dumps(Enlarge(2.0, Image.Resampling.BICUBIC, pixels)))
    image = noise(40, 40)
    expected = np.array(image.crop((10, 10, 30, 30)).resize((40, 40), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(transform(image).numpy(), expected)


@pytest.mark.parametrize(
    ("interpolation", "expected"),
    [
        ("bilinear", Image.Resampling.BILINEAR),
        ("bicubic", Image.Resampling.BICUBIC),
        ("lanczos", Image.Resampling.LANCZOS),
        ("random", Image.Resampling.BICUBIC),
        (None, Image.Resampling.BICUBIC),
    ],
)
def test_the_filter_is_the_models(interpolation, expected):
    assert resampling({"interpolation": interpolation} if interpolation else {}) == expected


def test_drawings_have_their_object_scaled_and_all_else_kept():
    images = demo_images()
    path = next(sample.path for sample in images.samples if sample.path == "demo/goldfish/0007")
    own = stimulus_factors("goldfish", 7).scale
    np.testing.assert_array_equal(np.array(images.source.open(path)), np.array(draw("goldfish", 7)))
    drawn = pickle.loads(pickle.dumps(Drawings(0.5))).open(path)
    np.testing.assert_array_equal(np.array(drawn), np.array(draw("goldfish", 7, scale=own * 0.5)))
    areas = [object_mask("goldfish", 7, scale=own * factor).astype(float).sum() for factor in (0.5, 0.25)]
    assert areas[0] / areas[1] == pytest.approx(4, rel=0.1)
