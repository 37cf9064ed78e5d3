import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import ImageChops
from timm.data import ImageNetInfo

from se_probe.demo import DEMO_CLASSES, StimulusFactors, draw, draw_background, object_mask, stimulus_factors
from se_probe.demo.backgrounds import BACKGROUNDS
from se_probe.demo.subjects import SUBJECTS
from se_probe.errors import SeProbeError

NAMES = [image_class.name for image_class in DEMO_CLASSES.classes]


def _centroid(mask: np.ndarray) -> tuple[float, float]:
    rows, columns = np.indices(mask.shape)
    return float((columns * mask.astype(float)).sum() / mask.sum()), float(
        (rows * mask.astype(float)).sum() / mask.sum()
    )


def _hull_area(name: str, scale: float) -> float:
    return float(object_mask(name, 3, scale=scale, x=0.0, y=0.0).sum()) / 255


def test_classes_are_imagenet_classes_by_exact_name() -> None:
    info = ImageNetInfo()
    assert len(NAMES) == 10
    for image_class in DEMO_CLASSES.classes:
        assert image_class.wnid is not None
        lemmas = info.label_name_to_description(image_class.wnid, detailed=False).split(", ")
        assert image_class.name == lemmas[0]
    assert list(SUBJECTS) == NAMES
    assert {"goldfish", "pug", "airliner", "cliff"} <= set(NAMES)


def test_classes_are_in_imagenet_order_with_the_output_unit_as_index() -> None:
    order = [ImageNetInfo().label_names().index(image_class.wnid) for image_class in DEMO_CLASSES.classes]
    assert order == sorted(order)
    assert [image_class.index for image_class in DEMO_CLASSES.classes] == list(range(10))


def test_no_colour_belongs_to_one_class() -> None:
    for name, subject in SUBJECTS.items():
        others = np.array([colour for other, row in SUBJECTS.items() if other != name for colour in row.colours])
        for colour in subject.colours:
            assert np.abs(others - colour).sum(axis=1).min() < 120, (name, colour)


def test_drawings_do_not_depend_on_order() -> None:
    wanted = [(name, instance) for name in NAMES for instance in (0, 7)]
    forwards = {key: draw(*key).tobytes() for key in wanted}
    backwards = {key: draw(*key).tobytes() for key in reversed(wanted)}
    assert forwards == backwards
    assert len(set(forwards.values())) == len(wanted)


def test_drawings_do_not_depend_on_the_process() -> None:
    script = "import sys; from se_probe.demo import draw; sys.stdout.buffer.write(draw('pug', 5).tobytes())"
    env = {**os.environ, "PYTHONHASHSEED": "1"}
    elsewhere = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, env=env).stdout
    assert elsewhere == draw("pug", 5).tobytes()


def test_drawing_is_rgb_of_the_asked_size() -> None:
    assert draw("snail", 0).size == (96, 96)
    assert draw("snail", 0).mode == "RGB"
    assert draw("snail", 0, size=160).size == (160, 160)


def test_a_larger_drawing_shows_the_same_picture() -> None:
    small = np.asarray(draw("umbrella", 2, size=96), dtype=float)
    reduced = np.asarray(draw("umbrella", 2, size=192).reduce(2), dtype=float)
    assert np.abs(small - reduced).mean() < 6


@pytest.mark.parametrize("name", NAMES)
def test_scale_sets_the_true_size_of_the_object(name: str) -> None:
    areas = [_hull_area(name, scale) for scale in (0.5, 0.75, 1.0, 1.25)]
    assert areas == sorted(areas)
    assert areas[3] > 1.5 * areas[1]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "cliff"])
def test_area_grows_with_the_square_of_the_scale(name: str) -> None:
    assert _hull_area(name, 0.8) / _hull_area(name, 0.4) == pytest.approx(4, rel=0.06)


@pytest.mark.parametrize("name", NAMES)
def test_position_shifts_the_object(name: str) -> None:
    base = {"scale": 0.5, "rotation": 0.0, "mirror": False}
    x0, y0 = _centroid(object_mask(name, 1, x=0.0, y=0.0, **base))
    x1, y1 = _centroid(object_mask(name, 1, x=0.1, y=-0.1, **base))
    assert x1 - x0 == pytest.approx(9.6, abs=0.5)
    assert y1 - y0 == pytest.approx(-9.6, abs=0.5)


def test_mirror_flips_the_object() -> None:
    pose = {"x": 0.0, "y": 0.0, "rotation": 0.0}
    plain = object_mask("goldfish", 4, mirror=False, **pose)
    flipped = object_mask("goldfish", 4, mirror=True, **pose)
    assert np.abs(plain[:, ::-1].astype(int) - flipped).mean() < 2
    assert np.abs(plain.astype(int) - flipped).mean() > 10


def test_rotation_is_counterclockwise() -> None:
    pose = {"x": 0.0, "y": 0.0, "mirror": False}
    upright = _centroid(object_mask("umbrella", 0, rotation=0.0, **pose))
    turned = _centroid(object_mask("umbrella", 0, rotation=90.0, **pose))
    assert upright[1] < 44 < 46 < upright[0] < 51  # the dome is up
    assert turned[0] < 44 < 46 < turned[1] < 51  # now it is to the left


@pytest.mark.parametrize("name", NAMES)
def test_object_covers_its_mask_and_nothing_else(name: str) -> None:
    changed = np.asarray(ImageChops.difference(draw(name, 6), draw_background(name, 6))).max(axis=2)
    mask = object_mask(name, 6)
    assert changed[mask == 0].max() == 0
    assert (changed[mask == 255] > 8).mean() > 0.9


def test_colour_paints_the_body_only() -> None:
    red, blue = (np.asarray(draw("banana", 2, colour=colour), dtype=int) for colour in ((200, 40, 40), (40, 40, 200)))
    mask = object_mask("banana", 2)
    assert np.array_equal(red[mask == 0], blue[mask == 0])
    body = red[mask == 255] - blue[mask == 255]
    assert np.median(body[:, 0]) > 60
    assert np.median(body[:, 2]) < -60


def test_light_comes_from_its_direction() -> None:
    factors = {"x": 0.0, "y": 0.0, "rotation": 0.0, "mirror": False, "brightness": 1.0, "scale": 1.0}
    above, below = (
        np.asarray(draw("goldfish", 1, light=light, **factors), dtype=int).sum(2) for light in (90.0, 270.0)
    )
    mask = object_mask("goldfish", 1, **factors)
    upper = np.zeros_like(mask, dtype=bool)
    upper[:48] = True
    assert (above - below)[(mask == 255) & upper].mean() > 10
    assert (above - below)[(mask == 255) & ~upper].mean() < -10


def test_brightness_scales_the_whole_picture() -> None:
    dim, bright = (np.asarray(draw("pug", 0, brightness=value), dtype=float).mean() for value in (0.5, 1.0))
    assert dim / bright == pytest.approx(0.5, abs=0.02)


def test_every_background_can_be_asked_for_and_differs() -> None:
    grounds = {kind: draw_background("pug", 0, background=kind).tobytes() for kind in BACKGROUNDS}
    assert len(set(grounds.values())) == len(BACKGROUNDS) == 9


def test_backgrounds_do_not_depend_on_the_class() -> None:
    counts = {name: np.zeros(len(BACKGROUNDS)) for name in NAMES}
    kinds = list(BACKGROUNDS)
    for name in NAMES:
        for instance in range(450):
            counts[name][kinds.index(stimulus_factors(name, instance).background)] += 1
    table = np.stack(list(counts.values()))
    chi_square = ((table - 50) ** 2 / 50).sum()
    assert chi_square < 117  # 80 degrees of freedom, p = 0.005


def test_factors_stay_within_their_ranges() -> None:
    factors = [stimulus_factors(name, instance) for name in NAMES for instance in range(50)]
    assert all(0.6 <= f.scale <= 1.3 and abs(f.x) <= 0.1 and abs(f.y) <= 0.1 for f in factors)
    assert all(abs(value) <= 1 for f in factors for value in f.build)
    assert {f.mirror for f in factors} == {True, False}


def test_overriding_one_factor_leaves_the_others() -> None:
    ground, other = (np.asarray(draw_background("pug", 3, scale=scale)) for scale in (0.5, 1.5))
    assert np.array_equal(ground, other)
    assert isinstance(stimulus_factors("pug", 3), StimulusFactors)


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"scale": 0}, "stimulus scale is 0; expected a positive number, 1 for the standard size"),
        (
            {"background": "lava"},
            "background 'lava' is unknown; choose one of plain, gradient, sky, water, horizon, grass, sand, noise, "
            "clutter",
        ),
        (
            {"hue": 3},
            "stimuli have no factor 'hue'; choose from scale, x, y, rotation, mirror, build, colour, light, "
            "brightness, background, background_colour, seed",
        ),
    ],
)
def test_impossible_factors_are_refused(factors: dict[str, object], message: str) -> None:
    with pytest.raises(SeProbeError) as caught:
        draw("pug", 0, **factors)
    assert str(caught.value) == message


def test_unknown_class_is_refused() -> None:
    with pytest.raises(SeProbeError) as caught:
        draw("tench", 0)
    assert str(caught.value) == (
        "the demo draws no 'tench'; choose one of goldfish, snail, pug, airliner, hourglass, umbrella, mushroom, "
        "strawberry, banana, cliff"
    )
