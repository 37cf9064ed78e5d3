"""Tell what a run found: in three sentences, in a line a claim, and in full for who asks."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from se_probe.analysis.findings import Summary
from se_probe.io.log import tell


def tell_summary(told: Summary, statements: Iterable[str]) -> None:
    """Tell a summary, and the full statements behind it at the level of details."""
    for sentence in told.sentences:
        tell("summary", sentence)
    for line in told.claims:
        tell("finding", line)
    for statement in statements:
        tell("statement", statement, logging.DEBUG)
    if told.next:
        tell("next", told.next)
