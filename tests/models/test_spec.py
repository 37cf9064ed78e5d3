"""The forms of a network's name and of its builder's arguments."""

from __future__ import annotations

import pytest

from se_probe.errors import SeProbeError
from se_probe.models import load_model, parse_model_args
from se_probe.models.spec import parse_spec


@pytest.mark.parametrize(
    ("spec", "parsed"),
    [
        ("legacy_seresnet50", ("timm", "legacy_seresnet50")),
        (" legacy_seresnet50.in1k ", ("timm", "legacy_seresnet50.in1k")),
        ("torchvision:mobilenet_v3_small", ("torchvision", "mobilenet_v3_small")),
        ("hf-hub:timm/seresnet50.a1_in1k@main", ("hf-hub", "timm/seresnet50.a1_in1k@main")),
        ("demo:se", ("demo", "se")),
        ("photo:sk", ("photo", "sk")),
        ("../shared/models/tin50.py:build", ("file", "../shared/models/tin50.py:build")),
        ("C:\\nets\\mine.py:build", ("file", "C:\\nets\\mine.py:build")),
    ],
)
def test_each_form_is_recognised(spec: str, parsed: tuple[str, str]) -> None:
    assert parse_spec(spec) == parsed


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("", ""),
        ("torchvision:", ""),
        ("keras:resnet", ""),
        ("two words", ""),
        ("timm/seresnet50.a1_in1k", " (for the hub, hf-hub:timm/seresnet50.a1_in1k)"),
        ("hf-hub:org/name@../../elsewhere", ""),
        ("hf-hub:org/..", ""),
        ("mine.py", " (which function of mine.py builds the network?)"),
        ("a/mine.py:", " (which function of a/mine.py builds the network?)"),
    ],
)
def test_any_other_form_is_an_error_that_says_the_forms(spec: str, hint: str) -> None:
    with pytest.raises(SeProbeError) as caught:
        parse_spec(spec)
    message = str(caught.value)
    assert f'"{spec}" does not name a network' in message
    assert message.endswith(hint)
    for form in ("timm name", "torchvision:NAME", "hf-hub:ORG/NAME", "file.py:function", "demo:KIND", "photo:KIND"):
        assert form in message


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
