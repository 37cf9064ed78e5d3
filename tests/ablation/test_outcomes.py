import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from se_probe.ablation.outcomes import MEASURES, log_probabilities, outcomes
from se_probe.errors import SeProbeError


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
