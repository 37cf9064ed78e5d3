"""Remote stores by fsspec's URLs (s3://, gs://, memory:// ...): what is a URL, and what is said where one fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from se_probe.errors import SeProbeError


def is_url(place: str | Path) -> bool:
    """Return whether a place is a URL and no path."""
    return "://" in str(place)


def one_line(error: Exception) -> str:
    """Return the first line of what an error says, or its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Turn what fsspec raises within the block into one line about the URL."""
    try:
        yield
    except ImportError as error:
        raise SeProbeError(
            f"{url} cannot be reached: the package for its kind of store is not installed ({one_line(error)})."
        ) from error
    except (OSError, ValueError) as error:
        raise SeProbeError(
            f"{url} cannot be reached ({one_line(error)}); expected a URL that fsspec knows, its package and your "
            "permission."
        ) from error
