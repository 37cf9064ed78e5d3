"""Recordings: gates over labelled images, on disk and back."""

from se_probe.recording.provenance import provenance_of
from se_probe.recording.record import record
from se_probe.recording.recording import Recording, open_recording
from se_probe.recording.resume import is_incomplete
from se_probe.recording.verify import Verification, verify

__all__ = ["Recording", "Verification", "is_incomplete", "open_recording", "provenance_of", "record", "verify"]
