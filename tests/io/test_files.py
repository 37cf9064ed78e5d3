"""Files appear whole or not at all."""

import gzip
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from se_probe.errors import SeProbeError
from se_probe.io import files


def test_content_replaces_what_was_there(tmp_path):
    path = tmp_path / "new" / "a.bin"
    files.write_file(path, b"first")
    files.write_file(path, b"second")
    assert path.read_bytes() == b"second"
    assert [item.name for item in path.parent.iterdir()] == ["a.bin"]


def test_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    files.write_file(path, b"old")

    def no_space(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(SeProbeError) as error:
        files.write_file(path, b"new")
    assert str(error.value) == f"cannot write {path}: No space left on device; choose another folder with --out"
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.bin"]


def test_folder_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(SeProbeError) as error:
        files.write_file(tmp_path / "taken" / "a.csv", b"x")
    assert str(error.value) == (
        f"cannot write {tmp_path / 'taken' / 'a.csv'}: File exists; choose another folder with --out"
    )


def test_csv_has_missing_values_empty_and_full_digits(tmp_path):
    path = tmp_path / "a.csv"
    files.write_csv(pd.DataFrame({"name": ["a", "b"], "value": [0.1 + 0.2, float("nan")]}), path)
    assert path.read_bytes() == b"name,value\na,0.30000000000000004\nb,\n"


def test_compressed_csv_has_the_same_bytes_every_time(tmp_path):
    table = pd.DataFrame({"value": [1.5]})
    for name in ("a.csv.gz", "b.csv.gz"):
        files.write_csv(table, tmp_path / name)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()) == b"value\n1.5\n"


def test_temporary_files_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    living = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    host = files._HOST
    names = [f".report.html.{host}.{dead.pid}.tmp", f".report.html.{host}.{living.pid}.tmp", ".report.html.other.1.tmp"]
    for name in names:
        (tmp_path / name).write_bytes(b"half")
    files.write_file(tmp_path / "a.csv", b"new")
    living.communicate(b"\n")
    assert sorted(item.name for item in tmp_path.iterdir()) == sorted([*names[1:], "a.csv"])


def test_a_removal_that_is_killed_leaves_nothing_by_that_name(tmp_path, monkeypatch):
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"")

    def killed(path):
        if path.name.endswith(".removed") and path.exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        files.remove(folder)
    assert [item.name for item in tmp_path.iterdir()] == [".figures.removed"]
    monkeypatch.undo()
    files.remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())


def test_one_writer_at_a_time_whatever_becomes_of_the_others(tmp_path):
    path = tmp_path / "recording.zarr"
    program = (
        "import sys, os, time; from pathlib import Path; from se_probe.io.files import only_writer\n"
        "with only_writer(Path(sys.argv[1])):\n"
        "    if not os.fork(): time.sleep(5); os._exit(0)\n"  # It outlives the writer, as decoding processes may.
        "    print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(SeProbeError, match=r"another run is writing .*recording\.zarr.*wait for its end"):
            enter(path)
        other.kill()
    with files.only_writer(path), pytest.raises(SeProbeError, match="another run is writing"):
        enter(path)
    assert not list(tmp_path.iterdir())


def enter(path):
    with files.only_writer(path):
        pass
