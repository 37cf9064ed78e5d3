"""The table of networks with gates, as its tool makes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch

import tools.catalog_build
from se_probe.models.catalog import shipped_table
from tools.catalog_build import build_table, examine, write_table


@pytest.mark.parametrize("spec", ["skresnet18", "resnest14d", "resnet18", "torchvision:mobilenet_v3_small"])
def test_examining_an_architecture_agrees_with_the_shipped_table(spec: str) -> None:
    assert examine(spec) == shipped_table()[spec]


def test_an_architecture_that_fails_is_entered_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot_be_built() -> torch.nn.Module:
        raise RuntimeError("needs a\ncompiler")

    monkeypatch.setitem(timm.models._registry._model_entrypoints, "skresnet18", lambda **_: cannot_be_built())
    assert examine("skresnet18") == "RuntimeError: needs a compiler"


def test_building_the_table_examines_what_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tools.catalog_build, "shipped_table", lambda: {"resnet18": {}, "gone": {"SE": 1}})
    assert build_table(["skresnet18"]) == {"resnet18": {}, "skresnet18": {"SK": 8}}
    assert capsys.readouterr().err == "1/1 skresnet18: {'SK': 8}\n"


def test_a_written_table_is_read_back(tmp_path: Path) -> None:
    write_table(tmp_path / "catalog.json", {"b": {"SE": 2}, "a": "too slow"})
    written = json.loads((tmp_path / "catalog.json").read_text())
    assert written["networks"] == {"a": "too slow", "b": {"SE": 2}}
    assert written["versions"]["timm"] == timm.__version__
