"""Labelled class statistics against the raw arrays."""

import numpy as np
import pytest

from se_probe.analysis import class_statistics, reference_statistics, select_classes
from se_probe.errors import SeProbeError
from tests.analysis.stand_in import Site, StandIn

RECORDING = StandIn(
    [Site("SE_2_1", 2, 1, 6), Site("SK_2_2", 2, 2, 5, branches=3)],
    ["goldfish"],
    {"goldfish": 4, "pug": 9, "cliff": 3},
)


@pytest.mark.parametrize("site", ["SE_2_1", "SK_2_2"])
def test_every_class_has_the_statistics_of_its_images(site):
    result = class_statistics(RECORDING.moments(site))
    for name, raw in RECORDING.raw[site].items():
        one = result.sel({"class": name})
        assert int(one["count"]) == len(raw)
        np.testing.assert_allclose(one["mean"], raw.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(one["variance"], raw.var(axis=0, ddof=1), rtol=1e-12)
        np.testing.assert_allclose(one["standard_error"] ** 2, raw.var(axis=0, ddof=1) / len(raw), rtol=1e-12)


def test_dimensions_keep_their_order():
    assert class_statistics(RECORDING.moments("SK_2_2"))["variance"].dims == ("class", "branch", "channel")


@pytest.mark.parametrize("site", ["SE_2_1", "SK_2_2"])
def test_reference_weighs_classes_equally(site):
    result = reference_statistics(RECORDING.moments(site))
    means = [raw.mean(axis=0) for raw in RECORDING.raw[site].values()]
    assert result["class"].values.tolist() == ["all classes (3)"]
    assert int(result["count"].item()) == 16
    np.testing.assert_allclose(result["mean"][0], sum(means) / 3, rtol=1e-12)


def test_reference_has_no_variance_when_a_class_has_one_image():
    recording = StandIn([Site("SE_2_1", 2, 1, 4)], ["goldfish"], {"goldfish": 5, "pug": 1})
    result = reference_statistics(recording.moments("SE_2_1"))
    assert np.isnan(result["variance"]).all()
    assert np.isnan(result["standard_error"]).all()
    assert np.isfinite(result["mean"]).all()


def test_classes_come_in_the_order_asked_for():
    chosen = select_classes(RECORDING.moments("SE_2_1"), ["cliff", "goldfish"])
    assert chosen["class"].values.tolist() == ["cliff", "goldfish"]
    assert chosen["count"].values.tolist() == [3, 4]


def test_unknown_class_is_named():
    with pytest.raises(SeProbeError) as error:
        select_classes(RECORDING.moments("SE_2_1"), ["goldfish", "plane"])
    assert str(error.value) == (
        "class 'plane' is not among the 3 classes of the recording; choose one that is, or record it with --classes"
    )
