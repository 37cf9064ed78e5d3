"""Builder arguments of the command line."""

from __future__ import annotations

import pytest

from se_probe.errors import SeProbeError
from se_probe.models import load_model, parse_model_args


def test_values_are_python_literals_or_text() -> None:
    pairs = [
        "num_classes=50",
        "drop_rate=0.1",
        "channels=(16, 32)",
        "global_pool=avg",
        "flag=True",
        "text=a=b",
        "none=None",
    ]
    assert parse_model_args(pairs) == {
        "num_classes": 50,
        "drop_rate": 0.1,
        "channels": (16, 32),
        "global_pool": "avg",
        "flag": True,
        "text": "a=b",
        "none": None,
    }


@pytest.mark.parametrize("pair", ["num_classes", "=50", "num-classes=50", ""])
def test_other_forms_are_refused(pair: str) -> None:
    with pytest.raises(SeProbeError) as caught:
        parse_model_args([pair])
    assert str(caught.value) == (
        f'model argument "{pair}" is not of the form key=value; write for example num_classes=50'
    )


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(SeProbeError) as caught:
        parse_model_args(["a=1", "a=2"])
    assert str(caught.value) == 'model argument "a" was given twice; give it once'


@pytest.mark.parametrize("spec", ["test_efficientnet", "torchvision:squeezenet1_1"])
def test_arguments_that_choose_weights_are_refused(spec: str) -> None:
    with pytest.raises(SeProbeError) as caught:
        load_model(spec, model_args={"pretrained_cfg": {"file": "x"}}, random_weights=True)
    assert str(caught.value) == (
        'model argument "pretrained_cfg" chooses weights; use --checkpoint FILE or --random-weights'
    )
