"""What each process of a run does in the tests of ranks: `torchrun --nproc-per-node 3 -m tests.recording.spread`."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed

from se_probe.labels import label_space_from_names
from se_probe.recording import Ranks, ranks_of_environment
from se_probe.recording.moments import ClassMoments
from tests.recording.small import CLASSES, run


def together(ranks: Ranks, folder: Path) -> None:
    """Record; rank 0 writes down what the bar was told."""
    told = []
    run(folder / "data", folder / "recording.zarr", ranks=ranks, progress=told.append)
    if ranks.first:
        (folder / "told.json").write_text(json.dumps(told))


def effects(ranks: Ranks, folder: Path) -> None:
    """Record effects, against a reference that rank 0 finds."""
    labels = label_space_from_names(CLASSES, "small")
    run(folder / "data", folder / "effects.zarr", ranks=ranks, capture=["effect"], labels=labels)


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


def reduced(ranks: Ranks, folder: Path) -> None:
    """All-reduce the moments of a third of some values; every rank writes down what it got."""
    torch.distributed.init_process_group("gloo")
    classes, values = some_values()
    moments = ClassMoments()
    # Uneven shares, and no rank sees "nobody".
    mine = [row for row in range(len(classes)) if row * row % 7 % 3 == ranks.rank]
    moments.update([classes[row] for row in mine], values[mine])
    whole = moments.all_reduce(["nobody", "c", "b", "a"], values.shape[1])
    found = {name: [item.count, item.mean.tolist(), item.m2.tolist()] for name, item in whole.by_class.items()}
    (folder / f"reduced-{ranks.rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


def some_values() -> tuple[list[str], np.ndarray]:
    """Return rows of three classes, far from zero and close to each other."""
    rng = np.random.default_rng(0)
    return ["a", "b", "c"] * 21, rng.normal(1e4, 1e-2, (63, 4))


def main() -> None:
    """Do each of the named works in turn, as runs of their own."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    for name in sys.argv[2:]:
        with ranks_of_environment() as ranks:
            globals()[name](ranks, folder)


if __name__ == "__main__":
    main()
