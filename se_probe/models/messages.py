"""How names and foreign errors read inside one-line messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

_NAMES_SHOWN = 3
_NEAR_NAMES = 5
_LONGEST = 300


def one_line(error: BaseException) -> str:
    """Return the type of an error and its message without line breaks, cut after 300 characters."""
    message = " ".join(str(error).split())
    message = f"{message[:_LONGEST]}…" if len(message) > _LONGEST else message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def shorten(names: Sequence[str]) -> str:
    """Return the first three names, with an ellipsis when there are more."""
    shown = ", ".join(names[:_NAMES_SHOWN])
    return f"{shown}, …" if len(names) > _NAMES_SHOWN else shown


def near_names(name: str, known: Iterable[str]) -> str:
    """Return "; near names: …" with up to five of the known names, or nothing when none is near."""
    near = get_close_matches(name.lower(), list(known), n=_NEAR_NAMES)
    return f"; near names: {', '.join(near)}" if near else ""
