"""The catalog of pretrained networks with gates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm

import se_probe.models.catalog
from se_probe.models.catalog import CatalogEntry, catalog, matches, pretrained_networks

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


@pytest.fixture
def old_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give the package a table that knows one network only."""
    table = {"versions": {}, "networks": {"resnet18": {}}}
    (tmp_path / "catalog.json").write_text(json.dumps(table))
    monkeypatch.setattr(se_probe.models.catalog, "files", lambda package: tmp_path)


@pytest.mark.parametrize(("spec", "families"), KNOWN_GATES.items())
def test_the_shipped_table_has_the_known_counts(spec: str, families: dict[str, int]) -> None:
    entry = next(entry for entry in catalog(spec).entries if entry.spec == spec)
    assert dict(entry.families) == families
    assert entry.gates == sum(families.values())


def test_the_shipped_table_covers_the_libraries_that_it_was_made_with() -> None:
    shipped = json.loads(Path(se_probe.models.catalog.__file__).with_suffix(".json").read_text())
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


@pytest.mark.usefixtures("old_table")
def test_what_the_table_lacks_is_named_with_the_command_that_examines_it() -> None:
    found = catalog("skresnet18")
    assert found.entries == ()
    assert list(found.unexamined) == ["skresnet18"]
    assert "se-probe gates" in found.unexamined["skresnet18"]
