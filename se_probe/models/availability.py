"""Check that weights can be obtained: from local caches, or else by one request with a timeout."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlparse

import huggingface_hub
import torch

from se_probe.errors import SeProbeError, one_line

# The hub's client would retry for half a minute, and urllib would wait for the system's timeout.
_PROBE_SECONDS = 10.0


def cached_hub_file(hub_id: str, filenames: Iterable[str]) -> Path | None:
    """Return the first of the files that the local hub cache holds for `ORG/NAME` or `ORG/NAME@REVISION`."""
    repository, revision = split_hub_id(hub_id)
    for filename in filenames:
        found = huggingface_hub.try_to_load_from_cache(repository, filename, cache_dir=_hub_cache(), revision=revision)
        if isinstance(found, str):
            return Path(found)
    return None


def split_hub_id(hub_id: str) -> tuple[str, str | None]:
    """Return the repository of a hub id and its revision, None for the main branch."""
    repository, _, revision = hub_id.partition("@")
    return repository, revision or None


def require_hub(hub_id: str, filename: str, wanted: str) -> None:
    """Raise SeProbeError unless the hub answers and has the repository."""
    repository, revision = split_hub_id(hub_id)
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise hub_failure(hub_id, wanted, "HF_HUB_OFFLINE forbids a download")
    url = huggingface_hub.hf_hub_url(repository, filename, revision=revision)
    try:
        huggingface_hub.get_hf_file_metadata(url, timeout=_PROBE_SECONDS)
    except huggingface_hub.errors.EntryNotFoundError:
        # The repository exists; the loader finds out which files it has.
        return
    except Exception as error:  # the client's errors share no base class across its versions
        raise hub_failure(hub_id, wanted, f"{url} could not be read ({one_line(error)})") from error


def require_url(url: str, wanted: str) -> None:
    """Raise SeProbeError unless a file is in PyTorch's cache or its server answers."""
    if cached_url_file(url).is_file():
        return
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise url_failure(url, wanted, "HF_HUB_OFFLINE forbids a download")
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_PROBE_SECONDS):
            return
    except urllib.error.HTTPError as answer:
        # Some servers refuse HEAD requests; the download itself shows whether the file exists.
        answer.close()
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise url_failure(url, wanted, f"{url} could not be read ({reason})") from error


def cached_url_file(url: str) -> Path:
    """Return the path of a URL's file in PyTorch's cache."""
    return Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(urlparse(url).path)


def hub_failure(hub_id: str, wanted: str, reason: str) -> SeProbeError:
    """Return the error for weights or a configuration that the hub does not provide."""
    return SeProbeError(
        f"{wanted} cannot be obtained: {hub_id} is not in the hub cache {_hub_cache()} and {reason}; give "
        "--checkpoint FILE, bring that cache from a machine with access (HF_HOME says where it is), "
        "or take --demo, which needs no download"
    )


def url_failure(url: str, wanted: str, reason: str) -> SeProbeError:
    """Return the error for weights that a URL does not provide."""
    return SeProbeError(
        f"{wanted} cannot be obtained: there is no {cached_url_file(url)} and {reason}; give --checkpoint FILE, "
        "put the file there (TORCH_HOME says where that is), or take --demo, which needs no download"
    )


def _hub_cache() -> str:
    # Read at each call, because the client's settings may change after its import.
    return str(huggingface_hub.constants.HF_HUB_CACHE)
