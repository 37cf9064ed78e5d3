"""A separate cache for every test, with no hub behind them."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
import torch

torch.set_num_threads(1)

REFUSED = "http://127.0.0.1:9"  # the discard port: nothing listens, so a connection is refused at once


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the hub client at an empty cache and at an address where nobody answers."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    set_endpoint(monkeypatch, REFUSED)
    return cache


@pytest.fixture(autouse=True)
def torch_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point PyTorch's downloads at an empty folder and return where its files go."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


def set_endpoint(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Make an address the hub, as HF_ENDPOINT would before the client is imported."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    monkeypatch.setattr(
        huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
