"""What holds for every label space and every query, tried on many."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from se_probe.errors import SeProbeError
from se_probe.labels import LabelSpace, imagenet, label_space_from_names, name_key

SETTINGS = settings(deadline=None, derandomize=True, max_examples=100)
NAMES = st.lists(st.text(min_size=1, max_size=12).filter(str.strip), min_size=1, max_size=8)
IMAGENET = st.sampled_from(imagenet().classes)
PLANE = "plane"


def space_of(names: list[str]) -> LabelSpace | None:
    """The label space of any names, None where two of them cannot be told apart."""
    try:
        return label_space_from_names(names, "any names")
    except SeProbeError:
        return None


@SETTINGS
@given(NAMES, st.text(max_size=12))
def test_any_query_resolves_to_one_class_or_is_an_error_in_one_line(names, query):
    space = space_of(names)
    if space is None:
        return
    try:
        found = space.resolve(query).image_class
    except SeProbeError as error:
        assert space.title in str(error)  # noqa: PT017
        return
    keys = {name_key(name) for name in (found.name, *found.lemmas, found.wnid or "")}
    assert name_key(query) in keys or int(query) == found.index or name_key(query) == PLANE


@SETTINGS
@given(NAMES)
def test_every_class_is_reached_by_its_display_name_or_its_name_is_said_to_be_ambiguous(names):
    space = space_of(names)
    if space is None:
        return
    assert [c.index for c in space.classes] == list(range(len(names)))
    assert len({name_key(c.name) for c in space.classes}) <= len(names)
    for image_class in space.classes:
        found = space.candidates(image_class.name)
        assert image_class in found
        if len(found) == 1 and name_key(image_class.name) != PLANE:
            assert space.resolve(image_class.name).image_class == image_class


def spelt(draw: st.DrawFn, name: str) -> str:
    """The name in another case, with other spaces, and with its accents composed or apart."""
    cased = draw(st.sampled_from([str.lower, str.upper, str.title, str]))(name)
    spaced = cased.replace(" ", draw(st.sampled_from([" ", "_", "  "])))
    around = draw(st.sampled_from(["", " ", "\t"]))
    return around + unicodedata.normalize(draw(st.sampled_from(["NFC", "NFD"])), spaced) + around


@SETTINGS
@given(IMAGENET, st.data())
def test_imagenets_lemmas_are_reached_in_any_spelling(image_class, data):
    lemma = data.draw(st.sampled_from((image_class.name, *image_class.lemmas)))
    if name_key(lemma) == PLANE:
        return
    query = data.draw(st.composite(spelt)(lemma))
    found = imagenet().candidates(query)
    assert image_class in found
    assert all(name_key(lemma) in map(name_key, (c.name, *c.lemmas)) for c in found)


@SETTINGS
@given(st.lists(IMAGENET, min_size=1, max_size=6), st.data())
def test_lists_of_indices_and_wnids_keep_their_order_and_name_each_class_once(classes, data):
    queries = [data.draw(st.sampled_from([str(c.index), c.wnid, c.wnid.upper()])) for c in classes]
    if len(set(classes)) < len(classes):
        with pytest.raises(SeProbeError, match="both mean"):
            imagenet().resolve_all(",".join(queries))
        return
    for form in (queries, ",".join(queries), " , ".join(queries) + ","):
        assert [r.image_class for r in imagenet().resolve_all(form)] == classes


@SETTINGS
@given(st.text(max_size=12))
def test_suggestions_are_few_and_exist(query):
    near = imagenet().near(query)
    assert len(near) <= 5
    assert set(near) <= {image_class.describe() for image_class in imagenet().classes}


@pytest.mark.parametrize("query", ["9" * 5000, "²", "٣", "7_", "1_0", "", " ", "_", "plane\n", "\udcff"])
def test_odd_queries(query):
    if query == "٣":
        assert imagenet().resolve(query).image_class.index == 3
    elif query in ("7_", "plane\n"):
        assert imagenet().resolve(query).image_class.index == (7 if query == "7_" else 404)
    else:
        with pytest.raises(SeProbeError, match="ImageNet-1k"):
            imagenet().resolve(query)


def test_a_class_named_by_a_digit_that_is_no_number():
    assert label_space_from_names(["²", "two"], "odd").resolve("²").image_class.index == 0
