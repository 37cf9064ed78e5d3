"""Interventions by the user's metric, against the measures of a classifier and against single passes."""

import numpy as np
import pytest
import torch
from scipy import stats

import se_probe
from se_probe.analysis.ablation import ablation_sites_table
from se_probe.errors import SeProbeError
from se_probe.folding import load_folded
from se_probe.folding.evaluation import halves
from se_probe.gates import Identity, find_gates
from se_probe.images import batches, open_images, select
from se_probe.models import model_of
from tests.runs.noise import draw_noise

QUIET = {"progress": False, "workers": 0, "report": False}


def own_nll(output, samples):
    return torch.nn.functional.cross_entropy(output.double(), samples.units, reduction="none")


own_nll.unit = "nats"
own_nll.lower_is_better = True


def drift(output, samples):
    """Distance from the untouched network's output; images of one class are not measured."""
    found = (output - samples.untouched).square().mean(dim=1).sqrt()
    pugs = torch.tensor([name == "pug" for name in samples.classes])
    return torch.where(pugs, torch.nan, found)


drift.lower_is_better = True


def demo(out, **options):
    given = {"demo": True, "model": "demo:se", "sites": ["SE_5_3", "stages"], "per_class": 3, "out": out}
    return se_probe.ablate("goldfish,pug", **{**given, **QUIET, **options})


def test_the_negative_log_likelihood_of_ones_own_is_the_built_in_one(tmp_path):
    built_in = demo(tmp_path / "built_in", report=True)
    own = demo(tmp_path / "own", metric=own_nll, report=True)
    np.testing.assert_allclose(own.outcomes["metric"], built_in.outcomes["nll"], atol=1e-12)
    np.testing.assert_allclose(own.outcomes["clean_metric"], built_in.outcomes["clean_nll"], atol=1e-12)
    first, second = (ablation_sites_table(run) for run in (built_in, own))
    for name in ("change", "ci_low", "ci_high", "p", "p_holm"):
        np.testing.assert_allclose(second[f"metric_{name}"], first[f"nll_{name}"], atol=1e-9)
    assert set(second["metric"]) == {"own_nll"}
    assert set(second["unit"]) == {"nats"}
    report = (tmp_path / "own" / "report.html").read_text(encoding="utf-8")
    assert "The metric is own_nll" in report
    drawn = [sorted(path.name for path in (tmp_path / run / "figures").iterdir()) for run in ("built_in", "own")]
    assert drawn[0] == drawn[1]


def test_images_without_a_number_do_not_count(tmp_path):
    ablation = demo(tmp_path / "run", metric=drift, sites=["SE_5_3"])
    table = ablation_sites_table(ablation)
    assert (table["images"].item(), table["labelled"].item()) == (30, 27)
    assert table["clean_metric"].item() == 0
    assert ablation.metric["lower_is_better"] is True
    again = se_probe.open_ablation(tmp_path / "run")
    assert again.outcomes.identical(ablation.outcomes)


def test_images_alone_are_one_class_and_any_output_will_do(tmp_path):
    """Against single passes with the gate set to 1 by the network's own intervention."""

    class Features(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loaded = se_probe.load_model("test_efficientnet", random_weights=True).network
            self.pretrained_cfg = dict(self.loaded.pretrained_cfg)

        def forward(self, x):
            return {"out": self.loaded.forward_features(x)}

    def size(output, samples):
        return output["out"].square().flatten(1).mean(dim=1)

    size.lower_is_better = False
    (tmp_path / "in").mkdir()
    root = draw_noise(tmp_path / "in", ("flat",), 6)
    network = Features().eval()
    data = root / "flat"
    run = se_probe.ablate(model=network, metric=size, data=data, out=tmp_path / "run", **{**QUIET, "report": True})
    assert set(run.images["class"]) == {"images"}
    assert run.complete
    model = model_of(network)
    images = open_images(data, None, unlabelled=True)
    chosen = select(images, list(images.classes), per_class=6, reference_per_class=0, seed=0)
    (batch,) = batches(chosen, model.transform, batch_size=6, workers=0)
    site = find_gates(network, input_size=model.input_size)[0]
    with se_probe.intervene(network, {site: Identity()}), torch.inference_mode():
        expected = network(batch.images)["out"].double().square().mean(dim=(1, 2, 3))
    row = run.interventions.index[run.interventions["sites"] == site.name][0]
    np.testing.assert_allclose(run.outcomes["metric"][row], expected, rtol=1e-5)


def test_a_measure_that_fails_is_told_before_anything_is_recorded(tmp_path):
    def mean(output, samples):
        return output.mean()

    mean.lower_is_better = True
    message = (
        r"^the metric mean got .* a tensor of shape \(4, 10\), and 4 samples, and returned a tensor of shape \(\); ex"
    )
    with pytest.raises(SeProbeError, match=message):
        demo(tmp_path / "run", metric=mean)
    assert not (tmp_path / "run").exists()


def test_a_run_never_chooses_a_measure(tmp_path):
    """What a joined run was measured by is not read from its folder."""
    demo(tmp_path / "run", metric=drift, sites=["SE_5_3"])
    again = se_probe.ablate(run=tmp_path / "run", sites=["SE_5_3"], overwrite=True, **QUIET)
    assert again.metric is None
    assert "nll" in again.outcomes


def brightness(output, samples):
    return output.double().mean(dim=1)


brightness.unit = "units"
brightness.lower_is_better = False


def test_a_fold_by_a_measure_of_ones_own(tmp_path):
    """What is held out is measured again, by the folded network itself."""
    root = draw_noise(tmp_path, ("only",), 60)
    data = root / "flat"
    (root / "only").rename(data)
    options = {"model": "test_efficientnet", "random_weights": True, "progress": False, "workers": 0, "data": data}
    with pytest.raises(SeProbeError, match=r"^the metric brightness was given without --max-loss; give .* in units\.$"):
        se_probe.fold(**options, metric=brightness, out=tmp_path / "run")
    with pytest.raises(SeProbeError, match=r"^5 search images are too few to tell how brightness varies; 20 or"):
        se_probe.fold(**options, metric=brightness, out=tmp_path / "run", max_loss=1, per_class=10)
    result = se_probe.fold(**options, metric=brightness, out=tmp_path / "run", max_loss=1e3, per_class=60)
    assert result.fixed
    facts = result.facts["fold"]
    assert facts["measure"] == "brightness"
    assert "loses" in facts["verdict"]
    assert " units [" in facts["verdict"]
    loaded = load_folded(result.folder)
    before = se_probe.load_model("test_efficientnet", random_weights=True)
    images = open_images(data, None, unlabelled=True)
    chosen = select(images, list(images.classes), per_class=60, reference_per_class=0, seed=0)
    (batch,) = batches(halves(chosen, 0)[1], before.transform, batch_size=60, workers=0)
    with torch.inference_mode():
        change = (before.network(batch.images) - loaded.network(batch.images)).double().mean(dim=1).numpy()
    assert facts["held_out"]["points"] == pytest.approx(change.mean(), rel=1e-4, abs=1e-6)
    assert facts["held_out"]["images"] == 30
    spread = stats.t.ppf(0.975, 29) * change.std(ddof=1) / np.sqrt(30)
    assert facts["held_out"]["high"] == pytest.approx(change.mean() + spread, abs=0.15 * spread)
