"""A folder of hostile names and odd files, through the whole run: recording, tables, report and command line."""

import html
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import se_probe
from se_probe.recording import open_recording
from tests.images.helpers import SHOWN
from tests.runs.noise import QUIET, draw_noise

SKIPPED = {"empty.png": b"", "half.png": b"\x89PNG\r\n\x1a\n\0\0", "text<b>.JPEG": b"<script>bad()</script>"}


@pytest.fixture(scope="module")
def odd_data(tmp_path_factory):
    root = tmp_path_factory.mktemp("odd") / os.fsdecode(b"d\xe4ta <i>")
    rng = np.random.default_rng(0)
    for index in (0, 1):
        (root / str(index)).mkdir(parents=True)
        for name in SHOWN:
            pixels = rng.integers(0, 255, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(root / str(index) / os.fsdecode(name), "PNG")
    for name, content in SKIPPED.items():
        (root / "0" / name).write_bytes(content)
    (root / "0" / "notes.txt").write_text("not an image")
    (root / "0" / "again.png").symlink_to(root / "0" / "again.png")
    return root


@pytest.fixture(scope="module")
def run(odd_data, tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("run") / "run"
    se_probe.excite(
        "0,1", data=odd_data, model="test_efficientnet", random_weights=True, out=folder, command="<i>\udcff", **QUIET
    )
    return folder


def test_every_name_is_in_the_recording_and_in_a_table(run, tmp_path):
    recording = open_recording(run)
    assert recording.complete
    assert sorted(recording.images["path"]) == sorted(f"{i}/{name}" for i in (0, 1) for name in SHOWN.values())
    assert dict(recording.skipped[["path", "reason"]].values) == {
        "0/empty.png": "the file is empty",
        "0/half.png": "not an image that Pillow can read",
        "0/text<b>.JPEG": "not an image that Pillow can read",
        "0/again.png": "Too many levels of symbolic links",
    }
    assert recording.provenance["data"]["files_ignored"] == 1
    recording.images.to_csv(tmp_path / "images.csv")
    assert len((tmp_path / "images.csv").read_text().splitlines()) == 1 + len(recording.images)


def test_the_report_shows_names_as_text(run):
    page = (run / "report.html").read_text(encoding="utf-8")
    outside = re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.DOTALL)
    assert "<script>alert" not in page
    assert "<i>" not in outside
    assert html.escape("d\\xe4ta <i>") in outside


def test_the_command_line_in_a_terminal_that_knows_ascii_only(odd_data, tmp_path):
    command = [sys.executable, "-c", "from se_probe.cli import main; main()", "excite", "--data", odd_data]
    options = ["--classes", "0", "--model", "test_efficientnet", "--random-weights", "--no-report", "--workers", "0"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *options, "--out", tmp_path / "run"], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())  # Lines wrap at the terminal's width.
    assert "d\\xe4ta <i>: folders named by index" in told
    assert "4 images were skipped, 0/again.png" in told
    assert open_recording(tmp_path / "run").complete


def test_classes_that_the_network_does_not_know_go_through_the_whole_run_and_resume(tmp_path):
    data = draw_noise(tmp_path / "data", ("goldfish", "mydog"), 3, (32, 32))
    options = {"data": data, "model": "test_efficientnet", "random_weights": True, "out": tmp_path / "run"}
    se_probe.excite("goldfish,mydog", **options, **QUIET)
    recording = se_probe.excite("goldfish,mydog", **options, resume=True, **QUIET)
    assert list(recording.classes["name"]) == ["goldfish", "mydog"]
    assert recording.classes["index"].notna().tolist() == [True, False]
    assert (tmp_path / "run" / "report.html").is_file()
