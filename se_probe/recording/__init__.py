"""Recordings: gates over labelled images, on disk and back.

Names are imported when they are first used, so that looking for a recording does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from se_probe.recording.distributed import Ranks, place_of_environment, ranks_of_environment
    from se_probe.recording.engine import Execution
    from se_probe.recording.guard import is_incomplete
    from se_probe.recording.loop import record
    from se_probe.recording.merging import merge
    from se_probe.recording.provenance import provenance_of
    from se_probe.recording.recording import Recording, open_recording
    from se_probe.recording.verification import Verification, verify

_HOME = {
    **dict.fromkeys(("Ranks", "place_of_environment", "ranks_of_environment"), "distributed"),
    **dict.fromkeys(("Recording", "open_recording"), "recording"),
    **dict.fromkeys(("Verification", "verify"), "verification"),
    **{"Execution": "engine", "is_incomplete": "guard", "merge": "merging"},
    **{"provenance_of": "provenance", "record": "loop"},
}

__all__ = [
    "Execution",
    "Ranks",
    "Recording",
    "Verification",
    "is_incomplete",
    "merge",
    "open_recording",
    "place_of_environment",
    "provenance_of",
    "ranks_of_environment",
    "record",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'se_probe.recording' has no attribute {name!r}")
    return getattr(import_module(f"se_probe.recording.{_HOME[name]}"), name)
