import re

import pytest

from se_probe.ablation.replacing import parse_replacement
from se_probe.errors import SeProbeError
from se_probe.gates import Branch, Identity, Scale


def test_the_words():
    assert isinstance(parse_replacement("identity").replacement, Identity)
    assert parse_replacement("scale:0.5").replacement == Scale(0.5)
    assert parse_replacement("branch:1").replacement == Branch(1)
    assert parse_replacement("swap:goldfish, sea lion").classes == ("goldfish", "sea lion")
    assert [parse_replacement(text).kind for text in ("mean", "class-mean", "shuffle")] == [
        "mean",
        "class-mean",
        "shuffle",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zero",
        "identity:1",
        "mean:x",
        "swap:goldfish",
        "swap:a,b,c",
        "scale:",
        "scale:x",
        "branch:-1",
        "branch",
        "quantize",
        "tile:0",
        "tile:x",
    ],
)
def test_anything_else_is_refused(text):
    message = re.escape(
        f"gates cannot be replaced with {text!r}; expected identity, mean, class-mean, shuffle, swap:A,B, "
        "scale:FACTOR, branch:NUMBER, quantize:BITS, quantize-logits:BITS or tile:SIDE."
    )
    with pytest.raises(SeProbeError, match=f"^{message}$"):
        parse_replacement(text)
