"""Stopping, resuming and verifying from the command line, with real signals in processes of their own."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from se_probe.models import load_model
from se_probe.recording import open_recording
from tests.recording.small import assert_same, draw_images, run

ROOT = Path(__file__).resolve().parents[2]
NETWORK = """
import os
import torch
from tests.recording.small import SmallNetwork

class Stopping(SmallNetwork):
    passes = 0

    def forward(self, images):
        self.passes += 1
        if self.passes == 5 and "STOP_WITH" in os.environ:
            os.kill(os.getpid(), int(os.environ["STOP_WITH"]))
        return super().forward(images)

def build():
    torch.manual_seed(0)
    return Stopping()
"""


def in_process(*arguments, cwd, **environment):
    """Run the command in a process of its own, to which signals can be sent."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-m", "se_probe", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=variables, timeout=300)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    draw_images(folder / "data")
    (folder / "network.py").write_text(NETWORK)
    return folder


# In the order in which options are declared, which is that of the command that resumes a run.
OPTIONS = ["--classes", "alpha,beta", "--model", "network.py:build", "--data", "data", "--no-report"]
OPTIONS += ["--workers", "0", "--batch-size", "4", "--exact"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_names_the_command_that_continues_it(place, se_probe, number, code):
    folder = f"reports/stopped-by-{number.name}"
    environment = {"STOP_WITH": str(int(number))}
    done = in_process("excite", *OPTIONS, "--name", f"stopped by {number.name}", cwd=place, **environment)
    assert done.returncode == code, done.stderr
    command = shlex.join(["se-probe", "excite", *OPTIONS, "--out", folder, "--resume"])
    last = done.stderr.strip().splitlines()[-1]
    assert (
        last == f"stopped by {number.name}; what was recorded is in {folder}/recording.zarr; continue with: {command}"
    )
    status, output, _ = se_probe("verify", folder, cwd=place)
    assert status == 1
    problem = r"the recording is incomplete: (\d+) of 60 images; continue with --resume\n"
    found = re.fullmatch(rf"problem   {folder}/recording\.zarr: {problem}", output)
    recorded = int(found[1])
    assert 0 < recorded < 60
    status, output, _ = se_probe(*shlex.split(command)[1:], cwd=place)
    assert status == 0
    assert (
        f"resume    {recorded} of 60 images are recorded in {folder}/recording.zarr; {60 - recorded} are left" in output
    )
    assert_same(open_recording(folder), run(Path("data"), place / f"{number.name}.zarr"))
    assert Path(folder, "run.json").exists()
    status, output, _ = se_probe(*shlex.split(command)[1:], cwd=place)
    assert status == 0
    assert "is complete already: nothing is left to record" in output


def torchrun(*arguments, cwd):
    """Run the command as two ranks."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "se_probe"]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *launcher, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=variables, timeout=300)


def test_two_ranks_make_one_run_and_one_of_them_talks(place):
    done = torchrun("excite", *OPTIONS, "--name", "ranks", cwd=place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("recorded  59 images in reports/ranks/recording.zarr") == 1
    assert done.stdout.count("model     ") == 1
    assert done.stderr.count("60/60") == 1
    assert_same(open_recording(place / "reports" / "ranks"), run(place / "data", place / "alone.zarr"), atol=1e-6)


def test_a_mistake_is_told_by_one_rank(place):
    done = torchrun("excite", *OPTIONS, "--within", "gamma", "--name", "mistake", cwd=place)
    assert done.returncode != 0
    assert done.stderr.count("error: gamma is requested within classes") == 1
    assert not (place / "reports" / "mistake").exists()


@pytest.fixture
def left(place, tmp_path):
    """Return a place with a run that was stopped."""
    shutil.copytree(place, tmp_path / "place")
    path = tmp_path / "place" / "reports" / "left"
    model = load_model(f"{place / 'network.py'}:build")

    def stop(images):
        if images:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "place" / "data", path / "recording.zarr", model=model, progress=stop)
    return tmp_path / "place"


def test_a_stopped_run_is_pointed_out_and_not_replaced(left, se_probe):
    status, _, errors = se_probe("excite", *OPTIONS, "--out", "reports/left", cwd=left)
    assert status == 2
    assert errors == (
        "error: reports/left holds a run that was stopped before its end; continue it with --resume, replace it with "
        "--overwrite, or choose another folder with --out.\n"
    )
    status, _, errors = se_probe("excite", *OPTIONS, "--name", "left", "--per-class", "2", "--resume", cwd=left)
    assert status == 2
    assert "error: reports/left/recording.zarr was recorded with other settings" in errors
    assert "data.per_class: was 50, now 2" in errors
    status, _, errors = se_probe("excite", *OPTIONS, "--name", "left", "--resume", "--overwrite", cwd=left)
    assert status == 2
    assert errors == ("error: both --overwrite and --resume were requested; choose to start again or to continue.\n")
    status, output, _ = se_probe("excite", *OPTIONS, "--name", "left", cwd=left)
    assert status == 0
    assert "note      reports/left holds a run that was stopped before its end; --resume continues it" in output
    assert open_recording(left / "reports" / "left-2").complete


def test_verify_finds_a_flipped_byte(place, se_probe, tmp_path):
    path = run(place / "data", tmp_path / "recording.zarr").path
    status, output, _ = se_probe("verify", tmp_path, cwd=tmp_path)
    assert status == 0
    assert output == (f"sound     {path}: 59 images, 1 skipped, 18 arrays; checksums, counts, rows and moments agree\n")
    site = open_recording(path).sites[0].name
    chunk = path / "gates" / site / "gate" / "0.0"
    content = bytearray(chunk.read_bytes())
    content[-len(content) // 3] ^= 1
    chunk.write_bytes(content)
    status, output, _ = se_probe("verify", tmp_path, "--json", cwd=tmp_path)
    assert status == 1
    (found,) = json.loads(output)
    assert found["problems"][0].startswith(f"gates/{site}/gate ")
    assert not found["sound"]


def test_verify_needs_a_recording(se_probe, tmp_path):
    status, _, errors = se_probe("verify", tmp_path, cwd=tmp_path)
    assert status == 2
    assert errors.startswith(f"error: {tmp_path} holds no recording; expected ")
