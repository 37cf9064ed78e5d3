"""The forms of a network's name."""

from __future__ import annotations

import pytest

from se_probe.errors import SeProbeError
from se_probe.models.spec import parse_spec

FORMS = (
    "a timm name (legacy_seresnet50, legacy_seresnet50.in1k), torchvision:NAME, hf-hub:ORG/NAME, "
    "path/to/file.py:function, or demo:KIND"
)


@pytest.mark.parametrize(
    ("spec", "parsed"),
    [
        ("legacy_seresnet50", ("timm", "legacy_seresnet50")),
        (" legacy_seresnet50.in1k ", ("timm", "legacy_seresnet50.in1k")),
        ("torchvision:mobilenet_v3_small", ("torchvision", "mobilenet_v3_small")),
        ("hf-hub:timm/seresnet50.a1_in1k@main", ("hf-hub", "timm/seresnet50.a1_in1k@main")),
        ("demo:se", ("demo", "se")),
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
    assert str(caught.value) == f'"{spec}" does not name a network; expected {FORMS}{hint}'
