"""The paired run against networks that were changed by hand, image by image."""

import copy

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from se_probe.ablation import measure, plan_interventions
from se_probe.ablation.measure import passes_of
from se_probe.ablation.outcomes import MEASURES
from se_probe.gates import Identity, find_gates
from se_probe.images import batches, demo_images, select
from se_probe.models import load_model

WHICH = ("each", "cumulative", "stages")


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    return load_model("demo:se")


@pytest.fixture(scope="module")
def sites(model):
    return find_gates(model.network, model.input_size)


@pytest.fixture(scope="module")
def selection():
    images = demo_images()
    return select(images, images.classes[:2], per_class=5, reference_per_class=0)


def run(model, sites, selection, which=WHICH, **options):
    planned = plan_interventions(sites, which)
    everywhere = {site.name: Identity() for site in sites}
    found = list(measure(model, sites, planned, everywhere, selection, **options))
    return planned, np.concatenate([item.changed for item in found], axis=2), found


def by_hand(model, names, sites, selection):
    """Log probabilities of a copy in which SE modules let their input through."""
    network = copy.deepcopy(model.network)
    for site in sites:
        if site.name in names:
            network.get_submodule(site.module).forward = lambda x: x
    rows = []
    with torch.no_grad():
        for batch in batches(selection, model.transform, batch_size=1, workers=0):
            rows.append(network(batch.images)[0].double().numpy())
    return log_softmax(np.array(rows), axis=1)


def test_outcomes_equal_those_of_networks_changed_by_hand(model, sites, selection):
    planned, changed, _ = run(model, sites, selection, batch_size=4)
    clean = by_hand(model, (), sites, selection)
    units = [entry.sample.image_class.index for entry in selection.entries]
    for item, row in zip(planned, changed, strict=True):
        expected = by_hand(model, item.site_names, sites, selection)
        found = dict(zip(MEASURES, row, strict=True))
        own = expected[np.arange(len(units)), units]
        np.testing.assert_allclose(found["nll"], -own, atol=1e-5)
        np.testing.assert_allclose(found["kl"], (np.exp(clean) * (clean - expected)).sum(1), atol=1e-5)
        assert found["top1"].tolist() == (expected.argmax(1) == units).tolist()
        assert found["agree"].tolist() == (expected.argmax(1) == clean.argmax(1)).tolist()


def test_batch_size_does_not_matter(model, sites, selection):
    _, small, _ = run(model, sites, selection, which=("each",), batch_size=3)
    _, large, _ = run(model, sites, selection, which=("each",), batch_size=10)
    np.testing.assert_allclose(small, large, atol=1e-5)


def test_equal_sets_of_sites_are_measured_once_and_progress_comes_to_the_end(model, sites, selection):
    done = []
    planned, changed, _ = run(model, sites, selection, batch_size=4, progress=done.append)
    names = [(item.scope, item.name) for item in planned]
    last, alone = names.index(("cumulative", "from SE_5_3")), names.index(("site", "SE_5_3"))
    assert (changed[last] == changed[alone]).all()
    assert passes_of(planned) == len({item.site_names for item in planned}) + 1 < len(planned) + 1
    assert sum(done) == len(selection.entries) * passes_of(planned)
