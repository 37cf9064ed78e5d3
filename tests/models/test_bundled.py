"""The bundled networks as models."""

from __future__ import annotations

import pytest
import torch

from se_probe.demo import DEMO_CLASSES, DEMO_MODELS, PHOTO_CLASSES, PHOTO_MODELS, demo_network, photo_network
from se_probe.errors import SeProbeError
from se_probe.models import load_model


@pytest.mark.parametrize("kind", DEMO_MODELS)
def test_each_demo_network_loads_with_its_own_weights_and_classes(kind: str) -> None:
    model = load_model(f"demo:{kind}")
    own = demo_network(kind).state_dict()
    assert all(torch.equal(value, own[key]) for key, value in model.network.state_dict().items())
    assert (model.name, model.source, model.weights) == (f"demo:{kind}", "demo", "bundled with se-probe")
    assert model.labels == DEMO_CLASSES
    assert model.network(torch.zeros(1, *model.input_size)).shape == (1, 10)


@pytest.mark.parametrize("kind", PHOTO_MODELS)
def test_each_photo_network_loads_with_its_own_weights_and_classes(kind: str) -> None:
    model = load_model(f"photo:{kind}")
    own = photo_network(kind).state_dict()
    assert all(torch.equal(value, own[key]) for key, value in model.network.state_dict().items())
    assert all(value.dtype != torch.float16 for value in own.values())
    assert (model.name, model.source, model.weights) == (f"photo:{kind}", "photo", "bundled with se-probe")
    assert model.labels == PHOTO_CLASSES
    assert model.input_size == (3, 64, 64)
    assert model.network(torch.zeros(1, *model.input_size)).shape == (1, 50)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("demo:xx", {}, 'there is no demo network "xx"; expected one of demo:se, demo:sk, demo:sa'),
        ("photo:sa", {}, 'there is no photo network "sa"; expected one of photo:se, photo:sk'),
        ("demo:se", {"model_args": {"depth": 2}}, "the demo networks take no arguments; leave out depth"),
        (
            "demo:se",
            {"random_weights": True},
            "random weights were requested, but demo:se brings its own; choose one of the two",
        ),
    ],
)
def test_what_has_no_meaning_for_a_demo_network_is_refused(spec: str, options: dict[str, bool], message: str) -> None:
    with pytest.raises(SeProbeError) as caught:
        load_model(spec, **options)  # type: ignore[arg-type]
    assert str(caught.value) == message
