"""Files appear whole or not at all."""

import gzip
import os

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
