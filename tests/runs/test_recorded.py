"""The recording that `excite` and `open_recording` return: figures, findings, labels, report, a repr of one line."""

import pytest

import se_probe
from se_probe.analysis import findings
from se_probe.errors import SeProbeError
from se_probe.io.files import only_writer
from se_probe.recording.remote import copy_up


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded") / "run"
    few = {"per_class": 3, "reference_per_class": 1, "progress": False, "workers": 0}
    return se_probe.excite("goldfish,pug", demo=True, out=folder, report=False, **few)


def test_findings_are_a_table_of_what_the_analysis_finds(recording):
    table = se_probe.open_recording(recording.path).findings()
    assert list(table.columns) == ["title", "verdict", "result", "statement"]
    assert table["statement"].tolist() == [item.statement for item in findings(recording)]


def test_labels_are_the_classes_that_were_seen(recording):
    labels = recording.labels
    assert [item.index for item in labels.classes] == sorted(recording.classes["index"])
    wnids = recording.classes.set_index("name")["wnid"]
    assert all(item.wnid == wnids[item.name] for item in labels.classes)


def test_figures_and_report_are_written_beside_the_recording(recording, tmp_path):
    drawn = recording.plot(tmp_path, sites=["SE_5_3"])
    assert drawn
    assert all(path.is_file() and path.is_relative_to(tmp_path / "figures") for path in drawn)
    report = recording.report()
    assert report == recording.path.parent / "report.html"
    assert "SE_5_3" in report.read_text()


def test_the_repr_is_one_line(recording):
    line = repr(recording)
    assert "\n" not in line
    assert str(recording.path) in line
    assert f"{len(recording.images)} images" in line


def test_no_other_run_writes_while_figures_and_report_are_written(tmp_path, monkeypatch):
    refused = []

    def measure(recording, **_):
        with pytest.raises(SeProbeError, match="another run is writing"), only_writer(tmp_path / "run" / "run.json"):
            pass
        refused.append(recording)

    monkeypatch.setattr("se_probe.runs.excite.write_analysis", measure)
    few = {"per_class": 1, "reference_per_class": 0, "progress": False, "workers": 0}
    se_probe.excite("goldfish,pug", demo=True, out=tmp_path / "run", **few)
    assert len(refused) == 1
    assert not list((tmp_path / "run").glob(".*.lock"))


def test_the_lock_is_not_copied_to_a_url(tmp_path):
    (tmp_path / "run" / "recording.zarr").mkdir(parents=True)
    (tmp_path / "run" / "recording.zarr" / ".zattrs").write_text("{}")
    with only_writer(tmp_path / "run" / "run.json"):
        copy_up(tmp_path / "run", f"file://{tmp_path}/copy", "recording.zarr")
    copied = [path.name for path in (tmp_path / "copy").rglob("*") if path.is_file()]
    assert copied == [".zattrs"]
