import math

import pytest
import torch

from se_probe.recording.deviation import class_mean_deviation, deviation


def test_the_largest_difference_relative_where_values_exceed_one():
    expected = {("gate", "a"): torch.tensor([[0.5, 0.25]]), ("feature_after", "a"): torch.tensor([[-200.0, 3.0]])}
    found = {("gate", "a"): torch.tensor([[0.5, 0.75]]), ("feature_after", "a"): torch.tensor([[-150.0, 3.0]])}
    assert deviation(expected, expected) == 0
    assert deviation(expected, found) == 0.5
    found["gate", "a"] = expected["gate", "a"]
    assert deviation(expected, found) == pytest.approx(50 / 200)


def test_nan_agrees_with_nan_only():
    nan = {("gate", "a"): torch.tensor([[math.nan, 1.0]])}
    number = {("gate", "a"): torch.tensor([[0.0, 1.0]])}
    assert deviation(nan, nan) == 0
    assert deviation(nan, number) == math.inf
    assert deviation(number, nan) == math.inf


def test_class_means():
    expected = {("gate", "a"): torch.zeros(3, 2), ("logit", "a"): torch.zeros(3, 2)}
    moved = torch.tensor([[0.1, 0.0], [-0.1, 0.2], [0.0, -0.4]])
    found = {("gate", "a"): moved, ("logit", "a"): torch.full((3, 2), 9.0)}
    facts = class_mean_deviation(expected, found, ["cat", "cat", "dog"])
    assert facts["class_mean_largest"] == pytest.approx(0.4)
    assert facts["class_mean_rms"] == pytest.approx(math.sqrt((0.1**2 + 0.4**2) / 4))
    assert facts["gate_largest"] == pytest.approx(0.4)
    assert (facts["images"], facts["classes"]) == (3, 2)
