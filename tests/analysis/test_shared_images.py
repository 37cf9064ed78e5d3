"""Recordings are narrowed down to the images that all have, in one order."""

import numpy as np
import pytest

from se_probe.analysis.shared_images import NarrowedRecording, shared_images
from se_probe.errors import SeProbeError
from tests.analysis.image_recording import CLASSES, image_table, network

ALL = dict.fromkeys(CLASSES, range(8))


def test_images_are_matched_by_path_and_class_whatever_their_order():
    first = network(image_table(ALL))
    turned = image_table(ALL).iloc[::-1].reset_index(drop=True)
    other = network(turned)
    shared = shared_images({"a": first, "b": other})
    assert list(shared.images["path"]) == [f"{name}/{number}.png" for name in CLASSES[:3] for number in range(8)]
    assert shared.classes == CLASSES
    left, right = (NarrowedRecording(item, shared).gates("SE_3_1") for item in (first, other))
    np.testing.assert_allclose(left, right)
    assert list(left["class"].values) == list(right["class"].values) == list(shared.images["class"])


def test_only_shared_images_count_in_gates_and_moments():
    first = network(image_table({**ALL, "pug": range(0, 8), "tabby": range(5)}))
    other = network(image_table({**ALL, "pug": range(3, 9)}))
    shared = shared_images({"a": first, "b": other})
    # One tabby fewer was seen as reference: its moments are of other images, and it is left out.
    assert shared.classes == ("goldfish", "cliff", "banana", "airliner")
    narrowed = NarrowedRecording(first, shared)
    assert narrowed.chosen == ["goldfish", "pug", "cliff"]
    assert list(narrowed.classes["name"]) == ["goldfish", "pug", "cliff", "banana", "airliner"]
    kept = first.images["path"].isin([f"pug/{number}.png" for number in range(3, 8)]).to_numpy()
    gates = first.raw["SE_2_1"][kept]
    pug = narrowed.moments("SE_2_1").sel({"class": "pug"})
    assert int(pug["count"]) == 5
    np.testing.assert_allclose(pug["mean"], gates.mean(axis=0))
    np.testing.assert_allclose(pug["m2"], 5 * gates.var(axis=0))
    cliff = narrowed.moments("SE_2_1").sel({"class": "cliff"})
    np.testing.assert_allclose(cliff["mean"], first.moments("SE_2_1").sel({"class": "cliff"})["mean"])
    same = NarrowedRecording(other, shared).moments("SE_2_1").sel({"class": narrowed.moments("SE_2_1")["class"]})
    np.testing.assert_allclose(narrowed.moments("SE_2_1")["mean"], same["mean"])


def refused(recordings):
    with pytest.raises(SeProbeError) as caught:
        shared_images(recordings)
    return str(caught.value)


def test_other_images_are_refused():
    first, other = network(image_table(ALL)), network(image_table(dict.fromkeys(CLASSES, range(8, 16))), title="others")
    assert refused({"a": first, "b": other}) == (
        "the runs (of photographs, others) share 0 chosen images of 0 classes, by path and class; expected 10 images "
        "of 2 classes at least, record each network with the same --data, --classes, --per-class and --seed"
    )


def test_one_class_or_few_images_in_common_are_refused():
    first = network(image_table(ALL))
    one = network(image_table(dict.fromkeys(CLASSES, range(20)), chosen=("pug",)))
    many = network(image_table(dict.fromkeys(CLASSES, range(20))), title="photographs")
    few = network(image_table(dict.fromkeys(CLASSES, range(3))))
    advice = (
        ", by path and class; expected 10 images of 2 classes at least, record each network with the same --data, "
        "--classes, --per-class and --seed"
    )
    of_one, of_few = refused({"a": one, "b": many}), refused({"a": first, "b": few})
    assert of_one == f"the runs (all of photographs) share 20 chosen images of 1 classes{advice}"
    assert of_few == f"the runs (all of photographs) share 9 chosen images of 3 classes{advice}"
    assert refused({"a": first}) == "1 runs were given; expected two or more to compare"
