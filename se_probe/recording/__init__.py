"""Recordings: gates over labelled images, on disk and back."""

from se_probe.recording.distributed import Ranks, place_of_environment, ranks_of_environment
from se_probe.recording.engine import Execution
from se_probe.recording.loop import record
from se_probe.recording.merging import merge
from se_probe.recording.provenance import provenance_of
from se_probe.recording.recording import Recording, open_recording
from se_probe.recording.resume import is_incomplete
from se_probe.recording.verification import Verification, verify

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
