"""Recordings: gates over labelled images, on disk and back.

Names are imported when they are first used, so that looking for a recording does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from se_probe.recording.distributed import Ranks as Ranks
    from se_probe.recording.distributed import place_of_environment as place_of_environment
    from se_probe.recording.distributed import ranks_of_environment as ranks_of_environment
    from se_probe.recording.engine import Execution as Execution
    from se_probe.recording.guard import is_incomplete as is_incomplete
    from se_probe.recording.loop import record as record
    from se_probe.recording.merging import merge as merge
    from se_probe.recording.provenance import provenance_of as provenance_of
    from se_probe.recording.recording import Recording as Recording
    from se_probe.recording.recording import open_recording as open_recording
    from se_probe.recording.verification import Verification as Verification
    from se_probe.recording.verification import verify as verify

_HOME = {
    **dict.fromkeys(("Ranks", "place_of_environment", "ranks_of_environment"), "distributed"),
    **dict.fromkeys(("Recording", "open_recording"), "recording"),
    **dict.fromkeys(("Verification", "verify"), "verification"),
    "Execution": "engine",
    "is_incomplete": "guard",
    "merge": "merging",
    "provenance_of": "provenance",
    "record": "loop",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'se_probe.recording' has no attribute {name!r}")
    return getattr(import_module(f"se_probe.recording.{_HOME[name]}"), name)
