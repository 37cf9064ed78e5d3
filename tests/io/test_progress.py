"""Where no bar can be seen, a line says now and then how far a step is."""

import time

from se_probe.io import progress
from se_probe.io.progress import progress_bar, status
from tests.told import told


def wait_for(lines):
    for _ in range(1000):
        if lines:
            return
        time.sleep(0.005)


def test_a_line_now_and_then_where_there_is_no_terminal(monkeypatch):
    monkeypatch.setattr(progress, "HEARTBEAT", 0.01)
    with told() as lines, progress_bar("recording", 40) as advance:
        advance(12)
        wait_for(lines)
    assert lines[0] == "progress  recording: 12 of 40"
    with told() as lines, status("measuring gates"):
        wait_for(lines)
    assert lines[0] == "progress  measuring gates"
    with told() as lines, status("measuring gates", shown=False):
        time.sleep(0.05)
    assert lines == []
