"""Where replaced gates come from, on the demo's drawings and its smallest network."""

import numpy as np
import pytest
import torch

from se_probe.ablation.sources import class_mean_gates, donated, gather_gates, mean_gates, shuffled, swapped
from se_probe.errors import SeProbeError
from se_probe.gates import GateRecorder, find_gates, intervene
from se_probe.images import batches, demo_images, select
from se_probe.labels import ImageClass
from se_probe.models import load_model
from se_probe.recording import provenance_of, record


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
