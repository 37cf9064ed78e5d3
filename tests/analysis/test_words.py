"""Words of channels: planted nodes are found, and nothing is where classes have no order."""

import numpy as np
import pytest

from se_probe.analysis.words import FEWEST_CLASSES, word_nodes, word_tables
from se_probe.labels import imagenet
from se_probe.labels.wordnet import wordnet_paths
from tests.analysis.raw_recording import GateSite, RawRecording

CLASSES = [imagenet().classes[index] for index in range(0, 1000, 10)]
WNIDS = [image_class.wnid for image_class in CLASSES]
DOG, ARTIFACT = "n02084071", "n00021939"
CHANNELS = 40


def below(node):
    """Which of the classes lie below a node, straight from the paths."""
    paths = wordnet_paths(WNIDS)
    return np.array([any(node in path for path in paths[wnid]) for wnid in WNIDS])


def recording(shifts, seed=0, wnids=WNIDS):
    """Three images of each class; `shifts` has the class means (channel, class)."""
    rng = np.random.default_rng(seed)
    names = [image_class.name for image_class in CLASSES]
    raw = {name: 0.5 + shifts[:, place] + 0.02 * rng.normal(size=(3, CHANNELS)) for place, name in enumerate(names)}
    known = dict(zip(names, wnids, strict=True))
    return RawRecording([GateSite("SE_4_1", 4, 1, CHANNELS)], names[:2], {"SE_4_1": raw}, known)


def channel_words(made, **options):
    return word_tables(made, **options)[1]


def noise(seed=1):
    return 0.05 * np.random.default_rng(seed).normal(size=(CHANNELS, len(CLASSES)))


def test_a_planted_node_gives_the_channel_its_word_and_a_wider_one_another():
    shifts = noise()
    shifts[:10] += 0.3 * below(DOG)
    shifts[10:20] += 0.3 * below(ARTIFACT)
    table = channel_words(recording(shifts))
    assert (table["wnid"][:10] == DOG).mean() >= 0.9
    assert (table["wnid"][10:20] == ARTIFACT).mean() >= 0.9
    assert set(table["word"][:10].dropna()) <= {"dog", "canine", "domestic animal"}
    assert table["word"][20:].isna().mean() > 0.9
    dogs = table[table["wnid"] == DOG]
    assert (dogs["sibling_auc"] > 0.9).all()
    np.testing.assert_allclose(dogs["difference"], 0.3, atol=0.06)
    assert set(dogs["node_classes"]) == {below(DOG).sum()}


def test_a_gate_for_animals_is_not_one_for_dogs():
    shifts = noise()
    shifts[:10] += 0.3 * below("n00015388")
    table = channel_words(recording(shifts))[:10]
    assert (table["word"] == "animal").mean() >= 0.9
    assert not (table["word"] == "dog").any()


def test_permuted_classes_have_hardly_any_word():
    shifts = noise() + 0.3 * below(DOG)
    assert channel_words(recording(shifts), permutations=999)["word"].notna().all()
    named = []
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(len(CLASSES))
        named.append(channel_words(recording(shifts[:, order], seed), permutations=999)["word"].notna().any())
    assert sum(named) <= 4


def test_nodes_have_enough_classes_a_name_and_different_members():
    nodes = word_nodes(WNIDS)
    sizes = nodes.members.sum(axis=1)
    assert sizes.min() >= FEWEST_CLASSES
    assert sizes.max() <= len(WNIDS) - FEWEST_CLASSES
    assert len({row.tobytes() for row in nodes.members}) == len(nodes.wnids)
    assert not any(word == wnid for word, wnid in zip(nodes.words, nodes.wnids, strict=True))
    dog = nodes.wnids.index(DOG)
    np.testing.assert_array_equal(nodes.members[dog], below(DOG))
    wider = nodes.wider(dog)
    assert not (wider & nodes.members[dog]).any()
    assert wider.any()


def test_classes_without_wordnet_ids_have_no_words():
    sites, channels = word_tables(recording(noise(), wnids=[None] * len(CLASSES)))
    assert channels["word"].isna().all()
    assert channels["p"].isna().all()
    assert list(channels.columns) == list(channel_words(recording(noise()), permutations=9).columns)
    assert sites["named"].tolist() == [0]
    assert sites["named_share"].isna().all()


def test_the_share_of_named_channels_counts_what_survives():
    shifts = noise()
    shifts[:10] += 0.3 * below(DOG)
    sites, channels = word_tables(recording(shifts, wnids=WNIDS))
    named = channels["word"].notna().sum()
    assert named >= 9
    assert sites["named"].tolist() == [named]
    assert sites["named_share"].tolist() == pytest.approx([named / CHANNELS])
