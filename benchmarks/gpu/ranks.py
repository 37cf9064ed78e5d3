"""torchrun on the devices there are: moments merged by NCCL, and a recording shared by two processes.

`python -m benchmarks.gpu.ranks FILE` is what torchrun starts.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.distributed as distributed
from numpy.typing import NDArray

import se_probe
from benchmarks.gpu.agreement import TOLERANCE
from benchmarks.gpu.bench import Bench, Outcome, held
from benchmarks.gpu.subject import recorded_gates
from se_probe.recording.moments import ClassMoments

NAMES, COLUMNS, ROWS = ("a", "b", "c"), 64, 300
_PATIENCE = 150


def nccl(bench: Bench) -> Iterator[Outcome]:
    """Merge class moments over a process for each device, and compare with those of all rows in one process."""
    processes = torch.cuda.device_count() if bench.cuda else 2
    backend = "NCCL" if bench.cuda else "gloo"
    out = bench.folder / "moments.npz"
    _torchrun(bench, processes, "benchmarks.gpu.ranks", str(out), bench.device.type)
    rows = [_rows(rank) for rank in range(processes)]
    classes, values = np.concatenate([part[0] for part in rows]), np.concatenate([part[1] for part in rows])
    with np.load(out) as found:
        gaps = [
            np.abs(found[f"{name}-{what}"] - expected).max()
            for name in NAMES
            for what, expected in (
                ("mean", values[classes == name].mean(0)),
                ("m2", values[classes == name].var(0) * (classes == name).sum()),
            )
        ]
    yield held(f"torchrun, {processes} × {backend}: class moments", float(max(gaps)), 1e-9)


def shared_recording(bench: Bench) -> Iterator[Outcome]:
    """Record the demo by two or more processes, as users start them, and compare with one process."""
    processes = max(2, torch.cuda.device_count()) if bench.cuda else 2
    options = ["--demo", "--model", "demo:se", "--per-class", "12", "--reference-per-class", "2", "--no-report"]
    place = bench.folder / "ranks"
    device = ["--device", bench.device.type]
    _torchrun(bench, processes, "se_probe", "excite", *options, *device, "--out", str(place))
    alone = bench.folder / "alone"
    _run(bench, [sys.executable, "-m", "se_probe", "excite", *options, *device, "--out", str(alone)])
    one, many = (se_probe.open_recording(path) for path in (alone, place))
    same = list(one.images["path"]) == list(many.images["path"])
    gap = float(np.abs(recorded_gates(one) - recorded_gates(many)).max())
    detail = f"{len(one.images)} images {'in the same order' if same else 'in ANOTHER order'}"
    check = f"torchrun, {processes} processes: recording against that of one"
    yield held(check, gap if same else float("inf"), TOLERANCE, detail)


def _torchrun(bench: Bench, processes: int, module: str, *arguments: str) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    _run(bench, [*launcher, "-m", module, *arguments])


def _run(bench: Bench, command: list[str]) -> None:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    environment |= {"OMP_NUM_THREADS": "1", "NVIDIA_TF32_OVERRIDE": "0"}
    done = subprocess.run(command, cwd=bench.folder, env=environment, capture_output=True, text=True, timeout=_PATIENCE)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[2:6])} ended with {done.returncode}: {done.stderr[-1500:]}")


def _rows(rank: int) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    rng = np.random.default_rng(rank)
    return rng.choice(NAMES, ROWS), rng.random((ROWS, COLUMNS))


def main() -> None:
    """Merge the moments of this process's rows with those of the others; rank 0 writes them."""
    out, device = Path(sys.argv[1]), sys.argv[2]
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    classes, values = _rows(distributed.get_rank())
    moments = ClassMoments()
    moments.update(list(classes), values)
    whole = moments.all_reduce(NAMES, COLUMNS)
    if distributed.get_rank() == 0:
        parts = {f"{name}-{what}": getattr(whole.by_class[name], what) for name in NAMES for what in ("mean", "m2")}
        np.savez(out, **parts)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
