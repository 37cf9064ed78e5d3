"""Why a site cannot be folded."""

from __future__ import annotations


class RefusedError(Exception):
    """A site, or one way of folding it, is refused; the message is the reason, a part of a sentence."""
