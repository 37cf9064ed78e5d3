"""Drawing a run again."""

import pytest

import se_probe
from se_probe.errors import SeProbeError
from se_probe.runs.plot import plot


def test_the_same_options_draw_the_same_figures(tmp_path):
    few = {"demo": True, "per_class": 3, "workers": 0, "report": False, "progress": False}
    se_probe.excite(out=tmp_path / "run", **few)
    paths = plot(tmp_path / "run", channels=5, out=tmp_path / "again")
    assert {path.parent for path in paths} == {tmp_path / "again" / "figures"}
    other = se_probe.draw(se_probe.open_recording(tmp_path / "run"), tmp_path / "drawn", channels=5)
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in other]
    with pytest.raises(SeProbeError, match="--channels 0 was given"):
        plot(tmp_path / "run", channels=0)
