"""One recording made by several processes, started by torchrun as a user would."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from se_probe.errors import SeProbeError
from se_probe.labels import label_space_from_names
from se_probe.recording import Ranks, is_incomplete, open_recording, place_of_environment, ranks_of_environment, verify
from tests.recording.small import CLASSES, assert_same, draw_images, run
from tests.recording.spread import some_values

LABELS = label_space_from_names(CLASSES, "small")
ROOT = Path(__file__).resolve().parents[2]


def torchrun(ranks: int, folder: Path, *works: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    return subprocess.run(
        [*command, "-m", "tests.recording.spread", str(folder), *works],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("ranks")
    draw_images(folder / "data")
    return folder


@pytest.fixture(scope="module")
def expected(place):
    return run(place / "data", place / "expected.zarr")


@pytest.fixture(scope="module")
def recorded(place):
    """Three works of three ranks in one start, because torch takes seconds to import."""

    def stop(images):
        if images:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(place / "data", place / "stopped.zarr", progress=stop)
    done = torchrun(3, place, "together", "few", "resumed", "reduced", "effects")
    assert done.returncode == 0, done.stderr
    return place


def test_all_ranks_take_effects_against_one_reference(recorded):
    alone = run(recorded / "data", recorded / "alone.zarr", capture=["effect"], labels=LABELS)
    together = open_recording(recorded / "effects.zarr")
    assert together.effects == alone.effects
    assert_same(together.of("effect"), alone.of("effect"), atol=1e-7)


def test_uneven_shares_give_the_recording_of_one_process(recorded, expected):
    """60 images in batches of 4 on 3 ranks are 20 each; the batches are others than those of one process."""
    assert_same(open_recording(recorded / "recording.zarr"), expected, atol=1e-6)
    assert verify(recorded / "recording.zarr").sound


def test_one_bar_counts_the_images_of_all_ranks(recorded):
    told = json.loads((recorded / "told.json").read_text())
    assert sum(told) == 60
    assert min(told) >= 0


def test_more_ranks_than_images(recorded, place):
    one = run(place / "data", place / "few_by_one.zarr", per_class=(1, 0))
    assert len(one.images) == 2
    assert_same(open_recording(recorded / "few.zarr"), one, atol=1e-6)


def test_ranks_continue_what_one_process_has_left(recorded, expected):
    recording = open_recording(recorded / "stopped.zarr")
    assert_same(recording, expected, atol=1e-6)
    assert len(recording.provenance["resumed"]) == 1


def test_moments_all_reduce_to_those_of_all_rows(recorded):
    classes, values = some_values()
    found = [json.loads((recorded / f"reduced-{rank}.json").read_text()) for rank in range(3)]
    assert found[0] == found[1] == found[2]
    assert sorted(found[0]) == ["a", "b", "c"]
    for name, (count, mean, m2) in found[0].items():
        rows = values[np.array(classes) == name]
        assert count == len(rows)
        np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-14)
        np.testing.assert_allclose(m2, ((rows - rows.mean(0)) ** 2).sum(0), rtol=1e-6)


def test_a_rank_that_dies_fails_the_run_and_loses_nothing(place, expected):
    done = torchrun(2, place, "dying")
    assert done.returncode != 0
    assert "SIGKILL" in done.stderr
    assert is_incomplete(place / "dying.zarr")
    # Rank 1 had put three batches of its half on disk.
    shards = {path.stem for path in (place / "dying.zarr" / "shards").iterdir()}
    assert shards >= {"000000030", "000000034", "000000038"}
    assert "000000042" not in shards
    assert_same(run(place / "data", place / "dying.zarr", resume=True), expected, atol=1e-6)


@pytest.mark.parametrize(("items", "size"), [(60, 3), (61, 3), (2, 5), (0, 2), (7, 7)])
def test_shares_are_everything_once_and_even(items, size):
    shares = [list(Ranks(rank, size).share(range(items))) for rank in range(size)]
    assert [item for share in shares for item in share] == list(range(items))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_launchers_are_known_by_their_environment(monkeypatch):
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    assert place_of_environment() == (0, 1, 0)
    # A batch script has these, and is one process nevertheless.
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "4")
    assert place_of_environment() == (0, 1, 0)
    monkeypatch.setenv("SLURM_PROCID", "5")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "8")
    monkeypatch.setenv("SLURM_LOCALID", "1")
    assert place_of_environment() == (5, 8, 1)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert place_of_environment() == (2, 3, 2)


def test_several_machines_need_an_address(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "SLURM_STEP_NUM_NODES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(SeProbeError, match=r"^MASTER_ADDR is not set, "), ranks_of_environment():
        pass
