"""The bundled extract of WordNet against timm's lists and facts that anyone can look up."""

from pathlib import Path

from timm.data import ImageNetInfo

from se_probe.labels import wordnet
from se_probe.labels.wordnet import wordnet_paths

ENTITY, ANIMAL, DOG, ARTEFACT = "n00001740", "n00015388", "n02084071", "n00021939"
DOMESTIC_ANIMAL = "n01317541"
GOLDFISH, PUG, TABBY, AIRLINER = "n01443537", "n02110958", "n02123045", "n02690373"


def test_paths_run_from_the_root_to_the_class():
    paths = wordnet_paths([GOLDFISH, PUG, TABBY, AIRLINER])
    assert {path[0] for own in paths.values() for path in own} == {ENTITY}
    assert all(path[-1] == wnid for wnid, own in paths.items() for path in own)
    first = {wnid: own[0] for wnid, own in paths.items()}
    assert [ANIMAL in first[wnid] for wnid in (GOLDFISH, PUG, TABBY, AIRLINER)] == [True, True, True, False]
    assert [DOG in first[wnid] for wnid in (PUG, TABBY)] == [True, False]
    assert ARTEFACT in first[AIRLINER]


def test_a_synset_with_several_hypernyms_has_all_its_paths():
    """In WordNet 3.0 a dog is a canine and a domestic animal."""
    own = wordnet_paths([PUG])[PUG]
    assert len(own) == 2
    assert all(DOG in path for path in own)
    assert [DOMESTIC_ANIMAL in path for path in own] == [False, True]


def test_every_class_of_imagenet_has_a_path():
    for space in ("imagenet-1k", "imagenet-12k", "imagenet-22k"):
        wnids = ImageNetInfo(space).label_names()
        assert list(wordnet_paths(wnids)) == wnids


def test_what_is_not_in_wordnet_is_left_out():
    assert wordnet_paths(["n99999999", "goldfish"]) == {}


def test_the_licence_lies_beside_the_table():
    text = Path(wordnet.__file__).with_name("WORDNET_LICENSE.txt").read_text()
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in text
