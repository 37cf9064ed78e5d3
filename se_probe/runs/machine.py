"""Where a network runs: its device, the processes that feed it, and the images of a forward pass."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from se_probe.errors import SeProbeError, first_line
from se_probe.recording import place_of_environment
from se_probe.runs.shared_settings import MachineSettings


@dataclass(frozen=True)
class Machine:
    """Where a network runs.

    Attributes:
        device: torch device.
        workers: number of processes that decode images.
        batch_size: images in one forward pass, None where it is to be measured.
    """

    device: str
    workers: int
    batch_size: int | None


def require_one_process(what: str) -> None:
    """Raise SeProbeError where several processes were started for what runs in one."""
    size = place_of_environment()[1]
    if size > 1:
        raise SeProbeError(f"{what} runs in one process; {size} were started, start it without torchrun.")


def machine_of(settings: MachineSettings, batch_size: int | str) -> Machine:
    """Return where the network runs, once that is known to work.

    Raises:
        SeProbeError: the device cannot be used.
    """
    workers = min(4, max(1, (os.cpu_count() or 1) - 1)) if settings.workers is None else settings.workers
    return Machine(device_of(settings.device), workers, batch_size if isinstance(batch_size, int) else None)


def device_of(device: str | None) -> str:
    """Return the device that was asked for, once it is known to compute; an accelerator by default, if any.

    Raises:
        SeProbeError: it does not compute.
    """
    if device is None:
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        (torch.zeros(1, device=device) + 1).item()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError, ValueError, TypeError) as error:
        raise SeProbeError(f"the device {device!r} cannot be used ({first_line(error)}); try --device cpu.") from error
    return device
