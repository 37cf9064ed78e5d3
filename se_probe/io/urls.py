"""Recognise fsspec's URLs (s3://, gs://, memory:// ...) and report their errors in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from se_probe.errors import SeProbeError, first_line


def is_url(place: str | Path) -> bool:
    """Return whether a place is a URL and no path."""
    return "://" in str(place)


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn what fsspec raises within the block into one line about the URL."""
    try:
        yield
    except ImportError as error:
        raise SeProbeError(
            f"{url} cannot be reached: the package for its kind of store is not installed ({first_line(error)})."
        ) from error
    except (OSError, ValueError) as error:
        raise SeProbeError(
            f"{url} cannot be reached ({first_line(error)}); expected a URL that fsspec knows, its package and your "
            "permission."
        ) from error
