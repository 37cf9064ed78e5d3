from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from se_probe.images.public import PUBLIC_SETS, PublicSet, download


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, and no waiting between attempts."""
    monkeypatch.setenv("SE_PROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "_WAIT", 0)
    return tmp_path / "cache" / "data"


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, bytes], PublicSet]:
    """Say that a public set is served at an address with some content."""

    def change(name: str, address: str, content: bytes, **facts: object) -> PublicSet:
        known = PUBLIC_SETS[name]
        public = replace(
            known,
            url=f"{address}/{known.archive_name}",
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            unpacked=10**6,
        )
        public = replace(public, **facts)
        monkeypatch.setitem(PUBLIC_SETS, name, public)
        return public

    return change
