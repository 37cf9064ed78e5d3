"""Changes of pictures against Pillow, scipy and the formulas of ImageNet-C, and their independence of batches."""

import io
import pickle
import re

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from timm.data import create_transform
from torchvision.models import ResNet18_Weights
from torchvision.transforms import ToTensor

from se_probe.errors import SeProbeError
from se_probe.images import batches, demo_images, select
from se_probe.images.changes import Change, Enlarge, changed_transform, enlarge, parse_changes, pictured, resampling
from tests.shared_files import SAMPLE_120, needs_shared

FACTS = {"interpolation": "bicubic", "mean": (0.5, 0.25, 0.75)}
TIMM = create_transform(input_size=(3, 64, 64), is_training=False, mean=(0, 0, 0), std=(1, 1, 1), crop_pct=1.0)
LARGE = create_transform(input_size=(3, 160, 160), is_training=False, mean=(0, 0, 0), std=(1, 1, 1), crop_pct=1.0)


def photograph(seed=0, width=80, height=70):
    """A smooth random picture, since single noisy pixels say little of blur and JPEG."""
    pixels = np.random.default_rng(seed).integers(0, 255, (7, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def seen(name, strength, transform=TIMM, image=None, seed=0):
    """What the network gets, in 0 … 255, and what it gets of the plain image."""
    image = image or photograph()
    change = changed_transform(Change(name, strength), transform, FACTS, seed=seed)
    return [(255 * item(image)).numpy().transpose(1, 2, 0) for item in (change, transform)]


@pytest.mark.parametrize(("severity", "transform", "added"), [(1, TIMM, 0.1), (5, TIMM, 0.5), (3, LARGE, 0.3)], ids=str)
def test_brightness_raises_the_value_of_hsv(severity, transform, added):
    found, plain = seen("brightness", severity, transform)
    value = plain.max(axis=-1, keepdims=True)
    # Hue and saturation are kept where all three values grow in proportion.
    expected = plain * np.minimum(value + 255 * added, 255) / value
    np.testing.assert_allclose(found, expected, atol=0.51)


def test_contrast_shrinks_deviations_from_the_mean_of_each_channel():
    found, plain = seen("contrast", 2)
    means = plain.mean(axis=(0, 1))
    np.testing.assert_allclose(found, np.clip((plain - means) * 0.3 + means, 0, 255), atol=0.51)


@pytest.mark.parametrize(("transform", "sigma"), [(TIMM, 1.0), (LARGE, 3.0)])
def test_blur_is_a_gaussian_filter_with_the_severity_of_the_pictures_size(transform, sigma):
    found, plain = seen("blur", 3, transform)
    expected = np.stack([gaussian_filter(plain[..., c], sigma, mode="nearest") for c in range(3)], axis=-1)
    np.testing.assert_allclose(found, expected, atol=0.51)


@pytest.mark.parametrize(("transform", "sigma"), [(TIMM, 0.12), (LARGE, 0.18)])
def test_noise_has_the_standard_deviation_of_its_severity(transform, sigma):
    found, plain = seen("noise", 3, transform, Image.new("RGB", (200, 200), (128, 128, 128)))
    noise = found - plain
    # Values of 12,288 pixels or more: the standard error of an SD is below 0.7 %; clipping is beyond 2.7 SD.
    assert noise.std() / 255 == pytest.approx(sigma, rel=0.03)
    assert abs(noise.mean()) < 255 * sigma * 4 / np.sqrt(noise.size)


def test_jpeg_is_pillows():
    found, plain = seen("jpeg", 4)
    stream = io.BytesIO()
    Image.fromarray(plain.round().astype(np.uint8)).save(stream, "JPEG", quality=40)
    np.testing.assert_allclose(found, np.asarray(Image.open(stream)), atol=0.01)


def test_grey_removes_a_share_of_the_colour():
    found, plain = seen("grey", 1)
    grey = plain @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(found, np.repeat(grey[..., None], 3, axis=-1), atol=1.01)
    half, _ = seen("grey", 0.5)
    np.testing.assert_allclose(half, (plain + grey[..., None]) / 2, atol=1.01)


def test_a_quarter_turn_is_exact_and_other_turns_fill_corners_with_the_mean():
    found, plain = seen("rotate", 90)
    np.testing.assert_allclose(found, np.rot90(plain), atol=0.01)
    turned, _ = seen("rotate", 45)
    np.testing.assert_allclose(turned[0, 0], [128, 64, 191], atol=0.51)


def test_a_square_hides_its_share_at_a_place_of_the_pictures_own():
    found, plain = seen("occlude", 0.25)
    hidden = np.abs(found - plain).max(axis=-1) > 0.5
    rows, columns = np.nonzero(hidden)
    assert rows.max() - rows.min() == columns.max() - columns.min() == 31
    np.testing.assert_allclose(found[rows.min(), columns.min()], [128, 64, 191], atol=0.51)
    other, plain = seen("occlude", 0.25, image=photograph(3))
    assert not np.array_equal(np.abs(other - plain).max(axis=-1) > 0.5, hidden)


def test_a_crop_is_that_of_the_scale_experiment_and_sees_the_whole_photograph():
    image = photograph(width=200, height=160)
    found, _ = seen("crop", 2, image=image)
    box = (50, 40, 150, 120)
    expected = TIMM(image.crop(box).resize(image.size, Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(found, (255 * expected).numpy().transpose(1, 2, 0))


def test_noise_depends_on_picture_and_seed_alone():
    images = demo_images()
    chosen = [images.labels.resolve(name).image_class for name in ("goldfish", "pug")]
    selection = select(images, chosen, per_class=3, reference_per_class=0)
    noise = changed_transform(Change("noise", 3), TIMM, FACTS, seed=1)
    runs = [
        torch.cat([batch.images for batch in batches(selection, noise, batch_size=size, workers=workers)])
        for size, workers in ((6, 0), (1, 0), (4, 2))
    ]
    for other in runs[1:]:
        assert torch.equal(runs[0], other)
    image = photograph()
    first, other_seed, again = (
        changed_transform(Change("noise", 3), TIMM, FACTS, seed=seed)(image) for seed in (1, 2, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other_seed)
    # More of the same noise at a higher severity, where nothing is clipped.
    flat = Image.new("RGB", (64, 64), (128, 128, 128))
    weak, strong = (seen("noise", severity, image=flat)[0] - 128 for severity in (1, 3))
    inside = np.abs(strong) < 100
    np.testing.assert_allclose(strong[inside], 3 * weak[inside], atol=2.01)


def test_torchvisions_transform_is_taken_apart_without_a_change_of_its_values():
    preset = ResNet18_Weights.DEFAULT.transforms()
    image = photograph(width=300, height=280)
    nothing = changed_transform(Change("rotate", 360), preset, FACTS, seed=0)
    assert torch.equal(nothing(image), preset(image))


def test_a_transform_without_a_picture_is_refused():
    message = (
        "images cannot be changed before a transform of type function, which has no step that makes a tensor of a "
        "picture; expected torchvision.transforms.Compose with ToTensor, or change crops only."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        changed_transform(Change("noise", 1), lambda image: ToTensor()(image), FACTS, seed=0)


def test_the_picture_of_a_transform_is_what_its_network_sees():
    image = photograph(width=200, height=160)
    for change in (Change("contrast", 1), Change("crop", 2)):
        transform = changed_transform(change, TIMM, FACTS, seed=0)
        assert torch.equal(pictured(transform, ToTensor())(image), transform(image))
    assert torch.equal(pictured(TIMM, ToTensor())(image), TIMM(image))


OWN = """
from PIL import Image, ImageOps

def flip(image, strength, rng):
    return ImageOps.mirror(image) if strength > 1 else image

def invert(image):
    return ImageOps.invert(image)

def fails(image, strength):
    raise ValueError("no luck")

def smaller(image, strength):
    return image.resize((3, 3))
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


def test_a_function_of_ones_own(file):
    flip, flip_more, invert = parse_changes([f"{file}:flip:1,2", f"{file}:invert"])
    assert [item.label for item in (flip, flip_more, invert)] == ["flip 1", "flip 2", "invert 1"]
    image = photograph()
    plain = TIMM(image)
    found = [
        pickle.loads(pickle.dumps(changed_transform(item, TIMM, FACTS, seed=0)))(image)
        for item in (flip, flip_more, invert)
    ]
    assert torch.equal(found[0], plain)
    assert torch.equal(found[1], plain.flip(-1))
    torch.testing.assert_close(found[2], 1 - plain)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fails", "failed on an RGB image of 64×64 pixels at strength 1: ValueError: no luck"),
        ("smaller", "returned RGB (3, 3) for an RGB image of 64×64 pixels; expected an RGB image of that size."),
    ],
)
def test_a_function_that_makes_no_picture_is_refused(file, function, message):
    (change,) = parse_changes([f"{file}:{function}"])
    with pytest.raises(SeProbeError, match=re.escape(message)):
        changed_transform(change, TIMM, FACTS, seed=0)(photograph())


def test_changes_as_they_are_written():
    found = parse_changes(["noise:3,1,3", "grey", "crop:1,1.5"])
    assert [item.label for item in found] == ["noise 1", "noise 3", "grey 1", "crop 1.5"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "fog:1",
            "the change 'fog' is not known; expected one of crop, brightness, contrast, blur, noise, jpeg, grey, ",
        ),
        (
            "noise:6",
            "noise was given the strength 6; expected a whole number from 0 to 5 (severity of ImageNet-C, 1 to 5)",
        ),
        ("noise:1.5", "noise was given the strength 1.5; expected a whole number from 0 to 5"),
        ("crop:0.5", "crop was given the strength 0.5; expected a number from 1 to 100"),
        ("noise:", "the change 'noise:' cannot be read; expected NAME:STRENGTH,STRENGTH, such as noise:1,3,5."),
        ("noise:nan", "the change 'noise:nan' cannot be read; expected NAME:STRENGTH,STRENGTH"),
        ("crop:1", "the changes crop:1 leave images as they are; expected one that changes them, such as noise:1,3,5."),
        ("nowhere.py:fog:1", "there is no file nowhere.py; expected a Python file with a function fog"),
        ("", "the change '' is not known"),
    ],
)
def test_changes_that_cannot_be_made(given, message):
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}"):
        parse_changes([given])


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
