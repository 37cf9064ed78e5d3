"""Recordings: gates over labelled images, on disk and back."""

from se_probe.recording.engine import Execution
from se_probe.recording.provenance import provenance_of
from se_probe.recording.record import record
from se_probe.recording.recording import Recording, open_recording

__all__ = ["Execution", "Recording", "open_recording", "provenance_of", "record"]
