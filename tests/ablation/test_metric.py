"""The user's metric: what it gets, what it has to return, and what is said where it does not."""

import re

import numpy as np
import pytest
import torch

from se_probe.ablation.metric import Metric, Samples, read_metric
from se_probe.errors import SeProbeError

OUTPUT = torch.arange(6.0).reshape(3, 2)


def samples(count=3):
    names = tuple(f"{place}.png" for place in range(count))
    return Samples(torch.zeros(count, 3, 4, 4), names, ("images",) * count, torch.full((count,), -1), "data", OUTPUT)


def metric(function, *, lower=False):
    return Metric(function, "mine", "dB", lower)


@pytest.mark.parametrize(
    "returned",
    [
        OUTPUT.sum(1),
        OUTPUT.sum(1).half(),
        OUTPUT.sum(1).numpy(),
        OUTPUT.sum(1).tolist(),
        OUTPUT.sum(1).clone().requires_grad_(),
    ],
)
def test_numbers_of_any_kind_are_taken(returned):
    found = metric(lambda output, given: returned)(OUTPUT, samples())
    assert found.dtype == torch.float64
    assert found.tolist() == [1.0, 5.0, 9.0]


def test_the_function_gets_output_and_samples():
    got = []
    metric(lambda output, given: got.append((output, given)) or output[:, 0])(OUTPUT, samples())
    assert got[0][0] is OUTPUT
    assert (got[0][1].paths, got[0][1].classes, len(got[0][1])) == (("0.png", "1.png", "2.png"), ("images",) * 3, 3)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (OUTPUT, "a tensor of shape (3, 2)"),
        (OUTPUT.mean(), "a tensor of shape ()"),
        ([1.0, 2.0], "a list of length 2"),
        (None, "NoneType"),
        ({"out": OUTPUT}, "dict with out: a tensor of shape (3, 2)"),
    ],
)
def test_what_is_not_a_number_for_each_image_is_refused(returned, words):
    with pytest.raises(SeProbeError) as caught:
        metric(lambda output, given: returned)({"out": OUTPUT, "aux": [OUTPUT]}, samples())
    assert str(caught.value) == (
        "the metric mine got the network's output, dict with out: a tensor of shape (3, 2), aux: a list of a tensor "
        f"of shape (3, 2), and 3 samples, and returned {words}; expected 3 numbers, one for each image."
    )


def test_an_error_of_the_function_is_told_with_its_line(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def broken(output, samples):\n    return output['out']\nbroken.lower_is_better = True\n"
    )
    message = r"^the metric broken got .*shape \(3, 2\), and 3 samples, and failed: IndexError: .* \(line 2\)\.$"
    with pytest.raises(SeProbeError, match=message):
        read_metric(f"{tmp_path / 'mine.py'}:broken")(np.zeros((3, 2)), samples())


def test_name_unit_and_direction_come_from_the_function(tmp_path):
    text = "def psnr(output, samples):\n    return output\npsnr.unit = 'dB'\npsnr.lower_is_better = False\n"
    (tmp_path / "mine.py").write_text(text)
    found = read_metric(f"{tmp_path / 'mine.py'}:psnr")
    assert (found.name, found.unit, found.lower_is_better) == ("psnr", "dB", False)
    assert found.facts["file"] == "mine.py"
    assert re.fullmatch(r"[0-9a-f]{64}", found.facts["file_sha256"])


def test_a_direction_is_never_guessed():
    message = (
        r"^the metric <lambda> does not say which direction is better; write <lambda>\.lower_is_better = True \(or "
        r"False\) below the function\.$"
    )
    with pytest.raises(SeProbeError, match=message):
        read_metric(lambda output, given: output)


def test_infinite_numbers_and_those_that_vanish_are_refused():
    clean = np.array([1.0, np.nan, 2.0])
    names = ["a.png", "b.png", "c.png"]
    metric(None).require_finite(np.array([[clean], [[3.0, np.nan, 4.0]]]), clean, names)
    for wrong, said in ((np.inf, "inf"), (np.nan, "nan")):
        message = rf"^the metric mine returned {said} for c\.png; expected a finite number, or NaN for an image that is"
        with pytest.raises(SeProbeError, match=message):
            metric(None).require_finite(np.array([[clean], [[3.0, np.nan, wrong]]]), clean, names)
