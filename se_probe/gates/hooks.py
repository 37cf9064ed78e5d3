"""Safe hooking: checks of the network, dispatch modes that an interrupt cannot leave active, and refused passes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from se_probe.errors import SeProbeError

TRAINING = (
    "the network is in training mode, in which batch statistics and dropout change its gates; "
    "call network.eval() first."
)


def check_recordable(network: nn.Module, *, in_training: bool = False) -> None:
    """Raise SeProbeError if hooks would miss gates or see part of a batch, or if training mode is not allowed."""
    if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise SeProbeError(
            f"the network is wrapped in {type(network).__name__}, whose replicas run without the recorder; "
            "pass network.module and run that."
        )
    if isinstance(network, torch.jit.ScriptModule):
        raise SeProbeError(
            "the network is scripted, so hooks on its modules do not run; pass the Python network that it was scripted "
            "from."
        )
    for path, module in network.named_modules():
        if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None:
            raise SeProbeError(
                f"{path or 'the network'} is compiled by torch.compile, which may skip hooks that are "
                "registered later; pass the original network (compiled._orig_mod) and run that."
            )
    if not in_training and any(module.training for module in network.modules()):
        raise SeProbeError(TRAINING)


def module_of(network: nn.Module, path: str) -> nn.Module:
    """Return the module at a site's path; raise SeProbeError if the network has none."""
    try:
        return network.get_submodule(path)
    except AttributeError:
        raise SeProbeError(
            f"the network has no module {path!r}, which multiplies by a gate; pass the sites that find_gates "
            "returned for this network."
        ) from None


def another_way(difference: str) -> SeProbeError:
    """Return the error for a pass that differs from the dry pass in which the sites were found."""
    return SeProbeError(
        f"this forward pass took another path than the dry pass in which the sites were found: {difference}; nothing "
        "of it is recorded or changed. Find the sites with an input for which the network takes this path."
    )


class _Thread(threading.local):
    """The active modes of a thread, outermost first, with their owners; and whether `reading` is active."""

    def __init__(self) -> None:
        self.modes: list[tuple[object, TorchDispatchMode]] = []
        self.reading = False


_THREAD = _Thread()


def push_mode(owner: object, mode: TorchDispatchMode) -> None:
    """Enter a mode until `pop_mode`, or until `unwind` after an interrupted pass."""
    mode.__enter__()
    _THREAD.modes.append((owner, mode))


def pop_mode(owner: object) -> TorchDispatchMode | None:
    """Leave the innermost mode and return it, if it belongs to `owner`."""
    if not _THREAD.modes or _THREAD.modes[-1][0] is not owner:
        return None
    mode = _THREAD.modes.pop()[1]
    mode.__exit__(None, None, None)
    return mode


def active_modes() -> int:
    """Return the number of active modes."""
    return len(_THREAD.modes)


def unwind_to(depth: int) -> None:
    """Leave all modes but the outermost `depth`."""
    while active_modes() > depth:
        pop_mode(_THREAD.modes[-1][0])


def unwind(owner: object) -> None:
    """Leave the modes of `owner` and those inside them, which an interrupt has left active."""
    unwind_to(next((depth for depth, (item, _) in enumerate(_THREAD.modes) if item is owner), active_modes()))


def is_reading() -> bool:
    """Whether a recorder or an intervention, not the network, runs the current operations."""
    return _THREAD.reading


@contextmanager
def reading() -> Iterator[None]:
    """Mark operations in the block as not the network's own."""
    before, _THREAD.reading = _THREAD.reading, True
    try:
        yield
    finally:
        _THREAD.reading = before
