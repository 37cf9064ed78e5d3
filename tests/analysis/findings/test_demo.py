"""The demo's drawings have known factors: the analyses tell class from colour at the demo network's sites."""

import numpy as np
import pytest
import torch

from se_probe.analysis.stats.moments import Moments, components, omega_squared
from se_probe.demo import SUBJECTS, draw, object_mask
from se_probe.gates import GateRecorder, find_gates
from se_probe.models import load_model
from tools.demo.evaluation import normalised

COLOURS = ((214, 60, 52), (240, 200, 40), (60, 140, 70), (50, 90, 190), (235, 235, 230), (60, 50, 50))
INSTANCES = 5


@pytest.fixture(scope="module")
def gates():
    """`(class, colour, instance, channel)` of every site: every class in every colour, all else the same."""
    torch.set_num_threads(1)
    model = load_model("demo:se")
    pictures = [
        np.asarray(draw(name, instance, colour=colour))
        for name in SUBJECTS
        for colour in COLOURS
        for instance in range(INSTANCES)
    ]
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    found = {}
    sites = find_gates(model.network, model.input_size)
    with GateRecorder(model.network, sites) as recorder, torch.inference_mode():
        for batch in pixels.split(50):
            model.network(normalised(batch))
            for name, values in recorder.gates.items():
                found.setdefault(name, []).append(values.double().numpy())
    shape = (len(SUBJECTS), len(COLOURS), INSTANCES, -1)
    return {name: np.concatenate(values).reshape(shape) for name, values in found.items()}


def _shares(values):
    """Shares of the variance between classes, and between colours of the same drawing, summed over channels."""
    classes, _, _, channels = values.shape
    images = values.reshape(classes, -1, channels)
    m2 = ((images - images.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    parts = components(Moments(np.full(classes, images.shape[1]), images.mean(axis=1).T, m2.T)).pooled()
    colour = values.var(axis=1, ddof=1).mean(axis=(0, 1)).sum()
    return float(omega_squared(parts)), float(colour / (parts.between + parts.within))


def test_colour_is_recovered_where_colour_is_what_is_measured():
    painted = [
        np.average(
            np.asarray(draw(name, instance, colour=colour), dtype=np.float64),
            axis=(0, 1),
            weights=np.repeat(object_mask(name, instance)[..., None], 3, axis=2),
        )
        for name in list(SUBJECTS)[:4]
        for colour in COLOURS
        for instance in range(3)
    ]
    by_class, by_colour = _shares(np.stack(painted).reshape(4, len(COLOURS), 3, 3))
    assert by_colour > 0.5 > 5 * by_class


def test_sites_of_the_last_stage_go_by_class_and_not_by_colour(gates):
    for site in ("SE_5_1", "SE_5_2", "SE_5_3"):
        by_class, by_colour = _shares(gates[site])
        assert by_class > 0.5
        assert by_class > 3 * by_colour


def test_class_gains_on_colour_with_depth(gates):
    lead = [by_class - by_colour for by_class, by_colour in map(_shares, gates.values())]
    assert np.polyfit(np.linspace(0, 1, len(lead)), lead, 1)[0] > 0.2
    assert np.mean(lead[-3:]) > 2 * np.mean(lead[:3])


def test_gates_of_recoloured_drawings_still_carry_colour_at_every_site(gates):
    assert all(_shares(values)[1] > 0.01 for values in gates.values())
