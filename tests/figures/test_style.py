"""Classes can be told apart, and nothing global changes."""

import sys

import matplotlib as mpl

from se_probe.figures import role_of_excitation
from tests.figures.tables import curves


def test_reference_is_black_and_dashed_and_classes_differ():
    names = [f"class {index}" for index in range(6)]
    lines = role_of_excitation(curves(classes=names), demo=False).axes[0].lines
    assert (lines[-1].get_color(), lines[-1].get_linestyle()) == ("black", "--")
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines}
    assert len(looks) == 7


def test_global_state_is_left_alone():
    before = dict(mpl.rcParams.copy())
    role_of_excitation(curves(), demo=True)
    assert dict(mpl.rcParams.copy()) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []
