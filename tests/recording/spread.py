"""What each process of a run does in the tests of ranks: `torchrun --nproc-per-node 3 -m tests.recording.spread`."""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from se_probe.recording import Ranks, ranks_of_environment
from tests.recording.small import run


def together(ranks: Ranks, folder: Path) -> None:
    """Record; rank 0 writes down what the bar was told."""
    told = []
    run(folder / "data", folder / "recording.zarr", ranks=ranks, progress=told.append)
    if ranks.first:
        (folder / "told.json").write_text(json.dumps(told))


def few(ranks: Ranks, folder: Path) -> None:
    """Record two images on three ranks."""
    run(folder / "data", folder / "few.zarr", ranks=ranks, per_class=(1, 0))


def resumed(ranks: Ranks, folder: Path) -> None:
    """Continue what one process has left."""
    run(folder / "data", folder / "stopped.zarr", ranks=ranks, resume=True)


def dying(ranks: Ranks, folder: Path) -> None:
    """Lose a rank when it has recorded three of its batches."""

    def die(images: int) -> None:
        batches.append(images)
        if ranks.rank == 1 and len(batches) == 4:
            os.kill(os.getpid(), signal.SIGKILL)

    batches: list[int] = []
    run(folder / "data", folder / "dying.zarr", ranks=ranks, progress=die, shard_images=4)


def main() -> None:
    """Do each of the named works in turn, as runs of their own."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    for name in sys.argv[2:]:
        with ranks_of_environment() as ranks:
            globals()[name](ranks, folder)


if __name__ == "__main__":
    main()
