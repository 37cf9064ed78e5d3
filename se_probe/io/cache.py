"""Where se-probe keeps what it can make or fetch again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return the folder that `SE_PROBE_CACHE` names, else the one that the system gives a user's caches."""
    named = os.environ.get("SE_PROBE_CACHE")
    return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("se-probe"))
