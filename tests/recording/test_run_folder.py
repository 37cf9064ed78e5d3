"""The folder of a run: what of it is replaced, and what never is."""

import json

import pytest

from se_probe.errors import SeProbeError
from se_probe.recording.run_folder import RunFolder, choose_folder

PARTS = ("figures", "tables", "report.html", "folded", "ablation.zarr", "run.json", "recording.zarr")


def fill(folder, *parts):
    for part in parts:
        path = folder / part
        path.parent.mkdir(parents=True, exist_ok=True)
        if part == "run.json":
            path.write_text(json.dumps({"versions": {"se-probe": "1"}}))
        elif path.suffix in (".html", ".txt"):
            path.write_text("a")
        else:
            path.mkdir()
            (path / "inside").write_text("a")


def test_clearing_removes_the_parts_of_a_run_and_nothing_else(tmp_path):
    fill(tmp_path, *PARTS, "notes.txt", "mine")
    RunFolder(tmp_path).clear()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["mine", "notes.txt"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_never_held_a_run_is_not_touched(tmp_path, overwrite):
    fill(tmp_path, "figures", "tables")
    (tmp_path / "run.json").write_text('{"run": "of another program"}')
    with pytest.raises(SeProbeError, match=r"holds no run, but figures, tables, run\.json, .*choose another folder"):
        choose_folder("a", tmp_path, overwrite=overwrite)
    RunFolder(tmp_path).clear()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["figures", "run.json", "tables"]


@pytest.mark.parametrize("stop", range(len(PARTS)))
def test_the_recording_goes_last(tmp_path, monkeypatch, stop):
    """Wherever a removal is stopped, what tells that a run is there is there as long as any part is."""
    fill(tmp_path, *PARTS)
    removed = []

    def counted(path):
        if len(removed) == stop:
            raise KeyboardInterrupt
        removed.append(path.name)
        real(path)

    from se_probe.recording import run_folder

    real = run_folder.remove
    monkeypatch.setattr(run_folder, "remove", counted)
    with pytest.raises(KeyboardInterrupt):
        RunFolder(tmp_path).clear()
    assert (tmp_path / "recording.zarr").exists()
    monkeypatch.undo()
    RunFolder(tmp_path).clear()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("resume", [False, True])
def test_a_name_that_is_too_long_is_a_sentence(tmp_path, resume):
    with pytest.raises(SeProbeError, match=r"cannot be used .*choose another folder with --out"):
        choose_folder("a", tmp_path / ("x" * 300), overwrite=False, resume=resume)
