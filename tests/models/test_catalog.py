"""The catalog of pretrained networks with gates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch

from se_probe.models import catalog_table
from se_probe.models.catalog import CatalogEntry, catalog, matches, pretrained_networks
from se_probe.models.examination import examine
from tools.catalog_build import build_table

# Counted by eye in the networks' definitions and recorded before this package existed (FACTS of the project).
KNOWN_GATES = {
    "legacy_seresnet50": {"SE": 16},
    "seresnet50": {"SE": 16},
    "legacy_senet154": {"SE": 50},
    "skresnet18": {"SK": 8},
    "skresnext50_32x4d": {"SK": 16},
    "resnest14d": {"split attention": 4},
    "resnest50d_4s2x40d": {"split attention": 16},
    "ecaresnet26t": {"ECA": 8},
    "efficientnet_b0": {"SE": 16},
    "regnety_004": {"SE": 16},
    "torchvision:mobilenet_v3_small": {"SE": 9},
}


@pytest.fixture(autouse=True)
def user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the user's cache, on any system, into a folder of the test's own."""
    monkeypatch.setenv("SE_PROBE_CACHE", str(tmp_path / "cache" / "se-probe"))
    return tmp_path / "cache" / "se-probe" / "catalog.json"


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give the package a table that knows one network only."""
    (tmp_path / "package").mkdir()
    table = {"versions": {}, "networks": {"resnet18": {}}}
    (tmp_path / "package" / "catalog.json").write_text(json.dumps(table))
    monkeypatch.setattr(catalog_table, "files", lambda package: tmp_path / "package")


@pytest.mark.parametrize(("spec", "families"), KNOWN_GATES.items())
def test_the_shipped_table_has_the_known_counts(spec: str, families: dict[str, int], user_cache: Path) -> None:
    entry = next(entry for entry in catalog(spec).entries if entry.spec == spec)
    assert dict(entry.families) == families
    assert entry.gates == sum(families.values())
    assert not user_cache.exists()


@pytest.mark.parametrize("spec", ["skresnet18", "resnest14d", "resnet18", "torchvision:mobilenet_v3_small"])
def test_examining_an_architecture_agrees_with_the_shipped_table(spec: str) -> None:
    assert examine(spec) == catalog_table.read_shipped()[spec]


def test_the_shipped_table_covers_the_installed_libraries_or_the_rest_is_learnt() -> None:
    shipped = json.loads((Path(catalog_table.__file__).parent / "catalog.json").read_text())
    if shipped["versions"]["timm"] != timm.__version__:
        pytest.skip("the table was made with another timm")
    assert [spec for spec in pretrained_networks() if spec not in shipped["networks"]] == []


def test_networks_without_gates_are_counted_and_not_listed() -> None:
    found = catalog("resnet50")
    assert "resnet50" not in {entry.spec for entry in found.entries}
    assert found.without_gates >= 1
    assert found.entries


def test_an_entry_names_its_weights_and_its_families_by_frequency() -> None:
    (entry,) = catalog("legacy_seresnet50").entries
    assert (entry.spec, entry.weights, entry.family) == ("legacy_seresnet50", ("in1k",), "SE")
    assert CatalogEntry("net", (), {"GRN": 1, "SE": 3}).family == "SE + GRN"


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        (None, True),
        ("SERES", True),
        ("seresnet50.ra2", True),
        ("seres*50", True),
        ("seresnet50.*", True),
        ("resnet", True),
        ("resnet*", False),
        ("torchvision", False),
    ],
)
def test_patterns_mean_a_part_or_with_wildcards_the_whole_of_a_name(pattern: str | None, meant: bool) -> None:
    assert matches(pattern, "seresnet50", ("ra2_in1k", "a1_in1k")) is meant


def test_a_pattern_reaches_torchvision_with_and_without_the_prefix() -> None:
    for pattern in ("mobilenet_v3*", "torchvision:mobilenet_v3_small", "torchvision:*"):
        assert matches(pattern, "torchvision:mobilenet_v3_small", ("IMAGENET1K_V1",))


@pytest.mark.usefixtures("forgetful")
def test_what_the_table_lacks_is_examined_once_and_remembered(user_cache: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    for _ in range(2):
        found = catalog("skresnet18", progress=lambda *step: seen.append(step))
        assert [(entry.spec, dict(entry.families)) for entry in found.entries] == [("skresnet18", {"SK": 8})]
    assert seen == [(0, 1, "skresnet18")]
    assert json.loads(user_cache.read_text())["networks"]["skresnet18"] == {"SK": 8}


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize("content", ["", "{}", '{"versions": {"timm": "0.1"}, "networks": {"skresnet18": {"SE": 99}}}'])
def test_a_damaged_cache_or_one_of_other_versions_is_not_believed(user_cache: Path, content: str) -> None:
    user_cache.parent.mkdir(parents=True)
    user_cache.write_text(content)
    assert dict(catalog("skresnet18").entries[0].families) == {"SK": 8}


@pytest.mark.usefixtures("forgetful")
def test_a_cache_that_cannot_be_written_does_not_matter(user_cache: Path) -> None:
    user_cache.parent.parent.mkdir()
    user_cache.parent.write_text("a file where the folder should be")
    assert len(catalog("skresnet18").entries) == 1


@pytest.mark.usefixtures("forgetful")
def test_an_architecture_that_fails_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot_be_built() -> torch.nn.Module:
        raise RuntimeError("needs a\ncompiler")

    monkeypatch.setitem(timm.models._registry._model_entrypoints, "skresnet18", lambda **_: cannot_be_built())
    found = catalog("skresnet18")
    assert found.entries == ()
    assert found.unexamined == {"skresnet18": "RuntimeError: needs a compiler"}


@pytest.mark.usefixtures("forgetful")
def test_building_the_table_examines_what_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert build_table(["skresnet18"]) == {"resnet18": {}, "skresnet18": {"SK": 8}}
    assert capsys.readouterr().err == "1/1 skresnet18: {'SK': 8}\n"
