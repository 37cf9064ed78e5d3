"""The paired run against networks that were changed by hand, image by image."""

import copy

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from se_probe.ablation import measure, plan_interventions
from se_probe.ablation.measure import MEASURES, log_probabilities, outcomes, passes_of
from se_probe.errors import SeProbeError
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


def test_measures_by_numpy():
    rng = np.random.default_rng(0)
    before, after = rng.normal(0, 3, (40, 12)), rng.normal(0, 3, (40, 12))
    after[:10] = before[:10]
    units = rng.integers(0, 12, 40)
    units[5], units[6] = -1, 12
    clean, changed = (log_probabilities(torch.from_numpy(logits), 40) for logits in (before, after))
    found = dict(zip(MEASURES, outcomes(changed, clean, torch.from_numpy(units)).numpy(), strict=True))
    p, q = (log_softmax(logits, axis=1) for logits in (before, after))
    np.testing.assert_allclose(found["kl"], (np.exp(p) * (p - q)).sum(1), atol=1e-12)
    assert (found["kl"][:10] == 0).all()
    assert found["agree"].tolist() == (p.argmax(1) == q.argmax(1)).tolist()
    for place, unit in enumerate(units):
        if not 0 <= unit < 12:
            assert np.isnan([found[name][place] for name in ("top1", "top5", "nll")]).all()
            continue
        rank = (q[place] > q[place, unit]).sum()
        assert (found["top1"][place], found["top5"][place]) == (rank == 0, rank < 5)
        assert found["nll"][place] == pytest.approx(-q[place, unit], abs=1e-12)


def test_float32_logits_are_measured_in_float64():
    logits = torch.randn(3, 1000) * 20
    exact = log_softmax(logits.double().numpy(), axis=1)
    np.testing.assert_allclose(log_probabilities(logits, 3).numpy(), exact, rtol=0, atol=1e-11)


@pytest.mark.parametrize("output", [torch.randn(2, 5, 7, 7), torch.randn(3, 5), torch.randn(2, 1), {"logits": 1}])
def test_an_output_without_logits_is_refused(output):
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else "dict"
    with pytest.raises(SeProbeError) as caught:
        log_probabilities(output, 2)
    assert str(caught.value) == (
        f"the network's output is {shape}; expected logits (2 images, classes): give a measure of your own "
        "with --metric."
    )
