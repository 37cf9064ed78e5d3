import subprocess
import sys

import pytest

from se_probe.errors import SeProbeError
from se_probe.labels import (
    ImageClass,
    LabelSpace,
    class_from_name,
    definition,
    imagenet,
    label_space_from_names,
)


def error_of(call):
    with pytest.raises(SeProbeError) as caught:
        call()
    return str(caught.value)


def test_imagenet_is_that_of_timm():
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    classes = imagenet().classes
    assert [c.wnid for c in classes] == info.label_names()
    assert [", ".join(c.lemmas) for c in classes] == info.label_descriptions()
    assert [f"{', '.join(c.lemmas)}: {definition(c)}" for c in classes] == info.label_descriptions(detailed=True)
    assert [c.index for c in classes] == list(range(1000))


def test_looking_up_a_name_does_not_import_torch():
    code = (
        "import sys, se_probe.labels as l; l.imagenet().resolve('pug'); sys.exit('torch' in sys.modules or "
        "'timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("goldfish", 1),
        ("GoldFish", 1),
        ("Carassius_auratus", 1),
        (" pug ", 254),
        ("404", 404),
        ("n02690373", 404),
        ("N02690373", 404),
        ("Egyptian_cat", 285),
        ("cliff", 972),
        ("cliff dwelling", 500),
        ("warplane", 895),
        ("tank suit", 639),
        ("projectile", 744),
        ("crane (n03126707)", 517),
        ("0", 0),
    ],
)
def test_index_wnid_or_exact_lemma(query, index):
    resolution = imagenet().resolve(query)
    assert resolution.image_class.index == index
    assert resolution.query == query
    assert resolution.note is None


def test_the_papers_plane_is_the_airliner_and_says_so():
    resolution = imagenet().resolve("plane")
    assert (resolution.image_class.index, resolution.image_class.wnid) == (404, "n02690373")
    assert resolution.note == (
        '"plane" is read as the vehicle of the SENet paper, airliner (404, n02690373); '
        'the tool is reached as "carpenter\'s plane" (726, n03954731)'
    )


@pytest.mark.parametrize("query", ["carpenter's plane", "726", "n03954731", "woodworking_plane"])
def test_the_carpenters_plane_stays_reachable(query):
    resolution = imagenet().resolve(query)
    assert resolution.image_class.index == 726
    assert resolution.note is None


def test_plane_is_the_tool_where_there_is_no_airliner():
    space = label_space_from_names(["n03954731", "n01443537"], "two classes")
    assert space.resolve("plane").image_class.wnid == "n03954731"
    assert space.resolve("plane").note is None


def test_plane_is_a_class_of_that_name_where_no_airliner_has_a_wnid():
    space = label_space_from_names(["airliner", "plane"], "plain names")
    assert space.resolve("plane").image_class.index == 1


def test_plane_where_there_is_no_tool():
    resolution = label_space_from_names(["n02690373", "n01443537"], "two classes").resolve("plane")
    assert resolution.image_class.index == 0
    assert resolution.note == '"plane" is read as the vehicle of the SENet paper, airliner (0, n02690373)'


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "crane",
            '"crane" is ambiguous in ImageNet-1k: crane (134, n02012849): large long-necked wading bird of marshes and '
            "plains in many parts of the world; crane (517, n03126707): lifts and moves heavy objects; lifting tackle "
            "is suspended from a pivoted boom that rotates around a vertical axis. Give the index, the WordNet id or "
            "another name of the one you mean",
        ),
        (
            "Maillot",
            '"Maillot" is ambiguous in ImageNet-1k: maillot (638, n03710637): tights for dancers or gymnasts; '
            "maillot (639, n03710721), also tank suit: a woman's one-piece bathing suit. Give the index, the WordNet "
            "id or another name of the one you mean",
        ),
        (
            "cliff dweling",
            'no class of ImageNet-1k is named "cliff dweling"; near names: cliff dwelling (500, n03042490)',
        ),
        (
            "xyzzy",
            'no class of ImageNet-1k is named "xyzzy"; expected an index, a WordNet id or an exact name',
        ),
        ("1000", "ImageNet-1k has no class 1000; expected an index from 0 to 999"),
        (
            "n00004475",
            "ImageNet-1k has no class n00004475 (organism, being); expected one of its 1000 classes",
        ),
        ("n99999999", "ImageNet-1k has no class n99999999; expected one of its 1000 classes"),
    ],
)
def test_what_does_not_resolve(query, message):
    assert error_of(lambda: imagenet().resolve(query)) == message


@pytest.mark.parametrize(("query", "indices"), [("missile", {657, 744}), ("cardigan", {264, 474})])
def test_other_ambiguous_names(query, indices):
    assert {c.index for c in imagenet().candidates(query)} == indices
    assert f'"{query}" is ambiguous in ImageNet-1k: ' in error_of(lambda: imagenet().resolve(query))


def test_a_part_of_a_name_is_only_suggested():
    message = error_of(lambda: imagenet().resolve("retriever"))
    assert "golden retriever (207, n02099601)" in message
    assert "Labrador retriever (208, n02099712)" in message


def test_a_list_is_resolved_in_its_order():
    found = imagenet().resolve_all("goldfish, pug,plane,,cliff")
    assert [r.image_class.index for r in found] == [1, 254, 404, 972]
    assert imagenet().resolve_all(["goldfish", "pug", "plane", "cliff"]) == found


@pytest.mark.parametrize("queries", ["pug,254", ["pug", "254"]])
def test_a_class_named_twice_is_an_error(queries):
    assert error_of(lambda: imagenet().resolve_all(queries)) == (
        '"pug" and "254" both mean pug (254, n02110958); name each class once'
    )


def test_one_name_given_twice_is_an_error():
    name = "pug"
    assert error_of(lambda: imagenet().resolve_all([name, name])) == (
        '"pug" and "pug" both mean pug (254, n02110958); name each class once'
    )


def test_an_empty_list_is_an_error():
    assert error_of(lambda: imagenet().resolve_all(" , ")) == (
        "no class names were given; expected some, for example goldfish,pug,plane,cliff"
    )


def test_display_names_of_imagenet_are_unique_in_any_case():
    names = [c.name.lower() for c in imagenet().classes]
    assert len(set(names)) == 1000
    assert {imagenet().classes[i].name for i in (134, 264, 639)} == {
        "crane (n02012849)",
        "Cardigan (n02113186)",
        "maillot (n03710721)",
    }


def test_wnids_beyond_imagenet_1k_have_lemmas():
    space = label_space_from_names(["n00004475", "n01443537"], "two")
    assert space.classes[0] == ImageClass(0, "n00004475", "organism", ("organism", "being"))
    assert space.resolve("being").image_class.index == 0


def test_plain_names_are_reached_with_spaces_or_underscores_and_by_each_part():
    space = label_space_from_names(["hot_dog", "tench, Tinca tinca", "ice cream"], "plain")
    assert [c.name for c in space.classes] == ["hot_dog", "tench, Tinca tinca", "ice cream"]
    assert [space.resolve(q).image_class.index for q in ("Hot Dog", "tinca tinca", "ice_cream")] == [0, 1, 2]


def test_repeated_plain_names_get_their_index():
    space = label_space_from_names(["crane", "pug", "crane"], "plain")
    assert [c.name for c in space.classes] == ["crane (index 0)", "pug", "crane (index 2)"]
    assert error_of(lambda: space.resolve("crane")) == (
        '"crane" is ambiguous in plain: crane (0); crane (2). '
        "Give the index, the WordNet id or another name of the one you mean"
    )
    assert space.resolve("crane (index 2)").image_class.index == 2


def test_a_name_that_is_a_number_wins_over_an_index_and_says_so():
    space = label_space_from_names(["1", "2", "0"], "digits")
    assert space.resolve("2").image_class.index == 1
    assert space.resolve("2").note == '"2" is read as a class name, 2 (1), not as an index'


def test_classes_without_a_unit_resolve_by_wnid_and_name():
    space = LabelSpace((ImageClass(0, None, "cat", ("cat",)), class_from_name("n01443537")), "mixed")
    assert space.resolve("goldfish").image_class.index is None
    assert error_of(lambda: space.resolve("1")) == "mixed has no class 1; expected an index from 0 to 0"


def test_one_identity_for_two_classes_is_refused():
    assert error_of(lambda: label_space_from_names(["n01443537", "n01443537"], "data")) == (
        "data has more than one class with the WordNet id n01443537; expected each WordNet id once"
    )


def test_an_empty_name_is_refused():
    assert error_of(lambda: label_space_from_names(["cat", " "], "data")) == (
        "data has a class without a name; expected 2 non-empty names"
    )


def test_a_label_space_prints_in_one_line():
    assert repr(imagenet()) == "LabelSpace('ImageNet-1k', 1000 classes)"
