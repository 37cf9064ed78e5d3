"""What the package's log says while a block runs."""

import logging
from contextlib import contextmanager


class _Keep(logging.Handler):
    def __init__(self, lines):
        super().__init__()
        self._lines = lines

    def emit(self, record):
        self._lines.append(f"{record.topic:<10}{record.text}")


@contextmanager
def told():
    """Yield a list that gets every message, a line each: ten columns of topic, then the text."""
    logger, lines = logging.getLogger("se_probe"), []
    handler, level = _Keep(lines), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
