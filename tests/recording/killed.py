"""Kill runs at random points and resume them until they end: `python -m tests.recording.killed --seeds 100`.

Half of the seeds kill just before a random one of the run's operations on files (every open, rename, make and remove
counts), the other half after a random time. With `--overwrite`, the runs that are killed replace a complete run of
other weights, with a figure and a table in its folder. Processes are forked, so that torch is imported once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from se_probe.errors import SeProbeError
from se_probe.recording import open_recording, verify
from se_probe.recording.run_folder import RunFolder
from tests.recording.small import BATCH, assert_same, draw_images, run, small_model

KILLS = 3
REMOVALS = 200  # operations on files of a removal and of the start of the run after it
EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.listdir", "os.scandir")


def in_child(work: Callable[[], object], after: float | None = None) -> bool:
    """Run `work` in a process of its own, killed after some seconds if asked for; return whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the run failed"
    return False


def count_operations(folder: Path, reached: Callable[[int], None]) -> None:
    """Call `reached` with the number of operations so far before each operation on a file below `folder`."""
    seen = [0]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in EVENTS and arguments and str(arguments[0]).startswith(str(folder)):
            seen[0] += 1
            reached(seen[0])

    sys.addaudithook(hook)


def kill_and_resume(seed: int, data: Path, folder: Path, expected: Path, operations: int, seconds: float) -> int:
    """Kill a run some times, let it end, compare it with an undisturbed one; return how often it was killed."""
    rng = random.Random(seed)
    path = folder / "recording.zarr"
    kills = 0
    for _ in range(KILLS):
        if seed % 2:
            killed = in_child(lambda: run(data, path, resume=True), after=rng.uniform(0, seconds))
        else:
            last = rng.randint(1, operations)

            def work(last: int = last) -> None:
                count_operations(folder, lambda seen: os.kill(os.getpid(), signal.SIGKILL) if seen == last else None)
                run(data, path, resume=True)

            killed = in_child(work)
        kills += killed
    batch_size = BATCH if seed % 4 < 2 else 3
    in_child(lambda: compare(run(data, path, resume=True, batch_size=batch_size), expected, batch_size))
    return kills


def replace_run(data: Path, folder: Path) -> None:
    """Record into a folder whose earlier run is removed first, as `excite --overwrite` does."""
    RunFolder(folder).clear()
    run(data, folder / "recording.zarr")


def earlier_run(data: Path, folder: Path) -> Path:
    """Make a folder with a run of other weights, as `excite` leaves it."""
    for name in ("figures/a.png", "tables/a.csv", "report.html", "ablation.zarr/outcomes/0"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("earlier")
    (folder / "run.json").write_text('{"se-probe": "1"}')
    run(data, folder / "recording.zarr", model=small_model(1))
    return folder


def kill_and_overwrite(seed: int, data: Path, earlier: Path, folder: Path, expected: Path, seconds: float) -> int:
    """Kill a run that replaces another; what is there then is one of the two, or can be continued to the new one."""
    rng = random.Random(seed)
    shutil.copytree(earlier, folder, dirs_exist_ok=True)
    path = folder / "recording.zarr"
    if seed % 2:
        killed = in_child(lambda: replace_run(data, folder), after=rng.uniform(0, seconds))
    else:
        last = rng.randint(1, REMOVALS)

        def work() -> None:
            count_operations(folder, lambda seen: os.kill(os.getpid(), signal.SIGKILL) if seen == last else None)
            replace_run(data, folder)

        killed = in_child(work)
    in_child(lambda: check_overwritten(data, path, earlier, expected))
    return killed


def check_overwritten(data: Path, path: Path, earlier: Path, expected: Path) -> None:
    """Accept the earlier recording, whole; else the new run's, which `--resume` ends."""
    try:
        complete = open_recording(path).complete
    except SeProbeError:
        complete = False
    if complete and open_recording(path).provenance["model"] == open_recording(earlier).provenance["model"]:
        assert verify(path).sound
        RunFolder(path.parent).clear()
    assert not [part for part in ("figures", "tables", "report.html", "run.json") if (path.parent / part).exists()]
    compare(run(data, path, resume=True), expected, BATCH)
    assert verify(path).sound


def compare(recording, expected: Path, batch_size: int) -> None:
    """Compare with the undisturbed recording: exactly where batches were the same."""
    assert_same(recording, open_recording(expected), atol=0 if batch_size == BATCH else 1e-6)
    assert not list(recording.path.parent.glob(".*"))
    assert not [path for path in recording.path.rglob("*") if path.suffix in (".tmp", ".partial")]


def main() -> None:
    """Kill as many runs as asked for, and print how often."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        data = draw_images(folder / "data")
        expected, counted = folder / "expected.zarr", folder / "counted"
        begun = time.monotonic()
        in_child(partial(run, data, expected))
        seconds = time.monotonic() - begun

        def count() -> None:
            count_operations(folder / "again", lambda seen: counted.write_text(str(seen)))
            run(data, folder / "again" / "recording.zarr")

        in_child(count)
        operations = int(counted.read_text())
        kills = {}
        in_child(lambda: earlier_run(data, folder / "earlier"))
        for seed in range(options.first, options.first + options.seeds):
            (place := folder / str(seed)).mkdir()
            if options.overwrite:
                kills[seed] = kill_and_overwrite(seed, data, folder / "earlier", place, expected, seconds)
            else:
                kills[seed] = kill_and_resume(seed, data, place, expected, operations, seconds)
            shutil.rmtree(place)
    print(json.dumps({"operations": operations, "seconds": seconds, "kills": kills}))


if __name__ == "__main__":
    main()
