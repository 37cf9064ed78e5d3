"""Coordinate the processes that share one run: ranks, agreed decisions, and barriers.

They communicate through the key-value store of torch.distributed, without pickling. Shards go to a shared folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from typing import Any, TypeVar

import torch.distributed

from se_probe.errors import OtherRankError, SeProbeError, first_line

Item = TypeVar("Item")
# torch annotates this module only in part, and some builds have it empty.
_distributed: Any = torch.distributed
_RUNS = count()
_FAILED, _DONE = "failed", "done"
_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 900.0
_LEAVING_SECONDS = {True: 30.0, False: 1.0}


class Ranks:
    """The processes of a run, seen from one of them; a run of one process needs no store.

    Attributes:
        rank: number of this process; rank 0 plans, merges, draws and prints.
        size: number of processes.
        local: number of this process, and of its accelerator, on its machine.
    """

    def __init__(self, rank: int = 0, size: int = 1, local: int = 0, store: Any = None) -> None:
        self.rank = rank
        self.size = size
        self.local = local
        self._store = store
        self._alone = 0

    @property
    def first(self) -> bool:
        """Whether this is the process that plans, merges, draws and prints."""
        return self.rank == 0

    def device(self, device: str) -> str:
        """Return this process's own device where each process has one."""
        return f"cuda:{self.local % torch.cuda.device_count()}" if device == "cuda" and self.size > 1 else device

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return this process's contiguous share of some items; shares differ by at most one, and may be empty."""
        return items[len(items) * self.rank // self.size : len(items) * (self.rank + 1) // self.size]

    def agree(self, key: str, decide: Callable[[], str]) -> str:
        """Return what rank 0 decides; the others wait for it.

        Raises:
            OtherRankError: another process failed.
        """
        if self.size == 1:
            return decide()
        if self.first:
            self._store.set(key, decide())
        return self._wait(key)

    @contextmanager
    def first_alone(self, key: str) -> Iterator[None]:
        """Run the body on rank 0 first, so that only it downloads files and reports errors."""
        if not self.first:
            self._wait(key)
        yield
        if self.first and self.size > 1:
            self._store.set(key, "")

    def count(self, images: int) -> int:
        """Add to the number of images done by all processes, and return the sum."""
        if self.size == 1:
            self._alone += images
            return self._alone
        return int(self._store.add(_DONE, images))

    def meet(self, key: str, meanwhile: Callable[[], object]) -> None:
        """Wait for all processes; call `meanwhile` now and then.

        Raises:
            OtherRankError: another process failed.
            SeProbeError: no process has recorded an image for a quarter of an hour.
        """
        if self.size == 1:
            return
        self._store.set(f"{key}/{self.rank}", "")
        seen, since = -1, time.monotonic()
        for rank in range(self.size):
            while not self._there(f"{key}/{rank}"):
                meanwhile()
                if (done := self.count(0)) != seen:
                    seen, since = done, time.monotonic()
                if time.monotonic() - since > _PATIENCE_SECONDS:
                    raise SeProbeError(
                        f"rank {rank} has not finished, and no rank has recorded an image for "
                        f"{_PATIENCE_SECONDS / 60:.0f} minutes; end the run and continue it with --resume."
                    )
                time.sleep(_POLL_SECONDS)
        meanwhile()

    def leave(self, error: BaseException | None) -> None:
        """Announce that this process ends; rank 0, which may serve the store, waits for the others to do so."""
        if self.size == 1:
            return
        if error is not None and not isinstance(error, OtherRankError):
            self._store.set(_FAILED, f"rank {self.rank} failed: {error}")
        until = time.monotonic() + _LEAVING_SECONDS[error is None]
        left = self._store.add("left", 1)
        while self.first and left < self.size and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
            left = self._store.add("left", 0)

    def _wait(self, key: str) -> str:
        while not self._there(key):
            time.sleep(_POLL_SECONDS)
        return str(self._store.get(key).decode())

    def _there(self, key: str) -> bool:
        if self._store.check([key]):
            return True
        if self._store.check([_FAILED]):
            reason = self._store.get(_FAILED).decode()
            raise OtherRankError(f"{reason} What was recorded is kept: continue with --resume, on any number of ranks.")
        return False


@contextmanager
def ranks_of_environment() -> Iterator[Ranks]:
    """Yield the processes that torchrun or SLURM's srun started together, or this one alone.

    Raises:
        SeProbeError: they cannot be reached.
    """
    ranks = _ranks()
    try:
        yield ranks
        ranks.leave(None)
    except BaseException as error:
        if isinstance(error, getattr(_distributed, "DistError", ())):
            raise SeProbeError(
                f"the other ranks cannot be reached ({first_line(error)}); continue with --resume."
            ) from error
        with suppress(RuntimeError):
            ranks.leave(error)
        raise


def place_of_environment() -> tuple[int, int, int]:
    """Return this process's rank, the number of ranks, and its number on its machine, as the launcher set them."""
    # Not SLURM_NTASKS: a job's script, which is one process, has it too.
    launchers = ("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
    for rank, size, local in launchers:
        if rank in os.environ and size in os.environ:
            return int(os.environ[rank]), int(os.environ[size]), int(os.environ.get(local, 0))
    return 0, 1, 0


def _ranks() -> Ranks:
    rank, size, local = place_of_environment()
    if size == 1:
        return Ranks()
    environment = os.environ
    address = environment.get("MASTER_ADDR")
    if address is None and environment.get("SLURM_STEP_NUM_NODES") != "1":
        raise SeProbeError(
            "MASTER_ADDR is not set, and processes on several machines need it to find rank 0; set it to rank 0's "
            "host, such as export MASTER_ADDR=$(scontrol show hostnames $SLURM_JOB_NODELIST | head -n 1)."
        )
    port = int(environment.get("MASTER_PORT") or 20_000 + int(environment.get("SLURM_JOB_ID", 0)) % 10_000)
    url = f"tcp://{address or '127.0.0.1'}:{port}"
    try:
        store, _, _ = next(_distributed.rendezvous(url, rank, size, timeout=timedelta(minutes=10)))
    except (RuntimeError, OSError) as error:
        raise SeProbeError(f"rank 0 cannot be reached at {url} ({first_line(error)}).") from error
    # torchrun keeps its store when it restarts processes, and a script may make several runs.
    attempt = f"se_probe/{environment.get('TORCHELASTIC_RESTART_COUNT', 0)}/{next(_RUNS)}"
    return Ranks(rank, size, local, _distributed.PrefixStore(attempt, store))
