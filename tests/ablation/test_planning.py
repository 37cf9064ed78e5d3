"""Which sites are changed together, and what their gates are replaced with."""

import re

import numpy as np
import pytest
import timm
import torch

from se_probe.ablation import plan_interventions
from se_probe.ablation.measure import gather_gates
from se_probe.ablation.planning import class_mean_gates, donated, mean_gates, parse_replacement, shuffled, swapped
from se_probe.errors import SeProbeError
from se_probe.gates import Branch, GateRecorder, Identity, Scale, find_gates, intervene
from se_probe.images import batches, demo_images, select
from se_probe.labels import ImageClass
from se_probe.models import load_model
from se_probe.recording import provenance_of, record


@pytest.fixture(scope="module")
def planned_sites():
    with torch.device("meta"):
        return find_gates(timm.create_model("legacy_seresnet18").eval())


def test_each_site_the_last_ones_and_whole_stages(planned_sites):
    planned = plan_interventions(planned_sites)
    found = {(item.scope, item.name): item.site_names for item in planned}
    assert [name for scope, name in found if scope == "site"] == [site.name for site in planned_sites]
    assert found["site", "SE_3_2"] == ("SE_3_2",)
    cumulative = [item for item in planned if item.scope == "cumulative"]
    assert [len(item.sites) for item in cumulative] == list(range(1, 9))
    assert found["cumulative", "from SE_4_2"] == ("SE_4_2", "SE_5_1", "SE_5_2")
    assert cumulative[-1].sites == tuple(planned_sites)
    assert {name: names for (scope, name), names in found.items() if scope == "stage"} == {
        f"stage {stage}": (f"SE_{stage}_1", f"SE_{stage}_2") for stage in (2, 3, 4, 5)
    }


def test_named_sites_are_changed_at_once_and_in_network_order(planned_sites):
    (planned,) = plan_interventions(planned_sites, ["SE_5_2", "SE_2_1"])
    assert (planned.name, planned.scope, planned.site_names) == ("SE_2_1+SE_5_2", "sites", ("SE_2_1", "SE_5_2"))


def test_unknown_and_missing_names(planned_sites):
    message = r"^there is no site 'SE_6_1' to intervene on; expected each, cumulative, stages, or some of SE_2_1, "
    with pytest.raises(SeProbeError, match=message):
        plan_interventions(planned_sites, ["each", "SE_6_1"])
    message = r"^no sites to intervene on were given; expected each, cumulative, stages, or names of sites\.$"
    with pytest.raises(SeProbeError, match=message):
        plan_interventions(planned_sites, [])


def test_the_words():
    assert isinstance(parse_replacement("identity").replacement, Identity)
    assert parse_replacement("scale:0.5").replacement == Scale(0.5)
    assert parse_replacement("branch:1").replacement == Branch(1)
    assert parse_replacement("swap:goldfish, sea lion").classes == ("goldfish", "sea lion")
    assert [parse_replacement(text).kind for text in ("mean", "class-mean", "shuffle")] == [
        "mean",
        "class-mean",
        "shuffle",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zero",
        "identity:1",
        "mean:x",
        "swap:goldfish",
        "swap:a,b,c",
        "scale:",
        "scale:x",
        "branch:-1",
        "branch",
        "quantize",
        "tile:0",
        "tile:x",
    ],
)
def test_anything_else_is_refused(text):
    message = re.escape(
        f"gates cannot be replaced with {text!r}; expected identity, mean, class-mean, shuffle, swap:A,B, "
        "scale:FACTOR, branch:NUMBER, quantize:BITS, quantize-logits:BITS or tile:SIDE."
    )
    with pytest.raises(SeProbeError, match=f"^{message}$"):
        parse_replacement(text)


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    return load_model("demo:sk")


@pytest.fixture(scope="module")
def sites(model):
    return find_gates(model.network, model.input_size)


@pytest.fixture(scope="module")
def selection():
    images = demo_images()
    return select(images, images.classes[:3], per_class=4, reference_per_class=0)


@pytest.fixture(scope="module")
def recording(model, sites, selection, tmp_path_factory):
    provenance = provenance_of(model, selection, command="test", settings={}, spatial_maps={}, demo=True)
    return record(model, sites, selection, tmp_path_factory.mktemp("run") / "recording.zarr", provenance=provenance)


@pytest.fixture(scope="module")
def batch(model, selection):
    (batch,) = batches(selection, model.transform, batch_size=100, workers=0)
    return batch


def applied(model, site, replacement, images, labels):
    """The factor that the network multiplies by at a site under a replacement, read at the product."""
    with GateRecorder(model.network, [site]) as recorder, intervene(model.network, {site: replacement}) as doing:
        doing.labels = labels
        model.network(images)
    return recorder.gates[site.name].double().numpy()


def test_the_mean_is_that_of_the_class_means(model, recording, sites, batch):
    site = sites[-1]
    gates = recording.gates(site.name)
    expected = np.mean([gates[gates["class"] == name].values.mean(0) for name in recording.chosen], axis=0)
    found = applied(model, site, mean_gates(recording)[site.name], batch.images, None)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-6)


def test_the_class_mean_is_that_of_the_images_class(model, recording, sites, batch, selection):
    site = sites[0]
    names = [selection.entries[place].sample.image_class.name for place in batch.indices]
    gates = recording.gates(site.name)
    expected = np.stack([gates[gates["class"] == name].values.mean(0) for name in names])
    found = applied(model, site, class_mean_gates(recording)[site.name], batch.images, names)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_gathered_gates_are_those_of_the_recorder_whatever_the_batch_size(model, sites, batch, selection, recording):
    places, gates = gather_gates(model, sites, selection, batch_size=5, workers=0)
    assert places == list(range(12))
    for site in sites:
        np.testing.assert_allclose(gates[site.name], recording.gates(site.name).values, atol=1e-5)


def test_donated_gates_are_the_donors(model, sites, batch, selection):
    site = sites[1]
    places, gates = gather_gates(model, [site], selection, batch_size=12, workers=0)
    donors = shuffled(places, seed=1)
    replacement = donated(gates, places, donors)[site.name]
    found = applied(model, site, replacement, batch.images, [str(place) for place in batch.indices])
    np.testing.assert_array_equal(found, gates[site.name][[donors[place] for place in batch.indices]])


class TestShuffled:
    def test_every_image_gives_once_and_none_to_itself(self):
        donors = shuffled([3, 5, 8, 9, 12], seed=0)
        assert sorted(donors) == sorted(donors.values()) == [3, 5, 8, 9, 12]
        assert all(receiver != donor for receiver, donor in donors.items())
        assert donors == shuffled([3, 5, 8, 9, 12], seed=0) != shuffled([3, 5, 8, 9, 12], seed=1)

    def test_one_image_keeps_its_own(self):
        assert shuffled([4], seed=0) == {4: 4}


class TestSwapped:
    FISH, PUG = ImageClass(1, None, "fish", ("fish",)), ImageClass(2, None, "pug", ("pug",))

    def test_every_image_receives_from_the_other_class_in_turn(self):
        classes = {0: self.FISH, 1: self.FISH, 2: self.FISH, 7: self.PUG, 8: self.PUG}
        donors = swapped(classes, (self.FISH, self.PUG), seed=0)
        assert sorted(donors) == [0, 1, 2, 7, 8]
        assert {donors[place] for place in (0, 1, 2)} == {7, 8}
        assert {donors[place] for place in (7, 8)} <= {0, 1, 2}
        assert donors[7] != donors[8]

    def test_a_class_without_images_is_refused(self):
        with pytest.raises(
            SeProbeError, match=r"^no image of .*pug.* could be decoded; choose another class to swap\.$"
        ):
            swapped({0: self.FISH}, (self.FISH, self.PUG), seed=0)
