"""The package's log under topics, silent where another process talks."""

import logging

from se_probe.io.log import silence, tell, tell_line
from tests.told import told


def test_a_message_has_a_topic_and_a_text(caplog):
    with caplog.at_level(logging.INFO, "se_probe"):
        tell("model", "demo:se")
        tell("wrote", "a path", logging.DEBUG)
        tell_line("warning   predictions do not agree")
    assert [(item.topic, item.text, item.levelname) for item in caplog.records] == [
        ("model", "demo:se", "INFO"),
        ("warning", "predictions do not agree", "WARNING"),
    ]
    assert caplog.records[0].getMessage() == "model: demo:se"


def test_silence():
    with told() as lines:
        with silence(True):
            tell("model", "unheard")
        with silence(False):
            tell("model", "heard")
    assert lines == ["model     heard"]
