import json
from dataclasses import replace
from pathlib import Path

from tools.demo.evaluation import GateSpread
from tools.demo.model_card import Measured, library_versions, write_model_card

MEASURED = Measured(
    kind="sk",
    plan={"epochs": 3, "gate_gain": 2.0},
    parameters=1234,
    sha256="ab" * 32,
    seconds=61,
    validation=0.875,
    held_out={"as drawn": 0.75, "background only": 0.125},
    gates=[GateSpread(site="SK_2_1", mean=0.5, lowest=0.25, highest=0.75, spread=0.0625, alive=1.0)],
    versions={"PyTorch": "9.9"},
)


def test_card_states_every_number(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    write_model_card(tmp_path, MEASURED)
    card = (tmp_path / "MODEL_CARD.md").read_text()
    assert "| `sk` selective kernels (`skresnext50_32x4d` layout) | 1,234 | 0.750 | 0.125 | 0.875 |" in card
    assert "| SK_2_1 | 0.500 | 0.250 | 0.750 | 0.062 | 1.000 |" in card
    assert f"| `sk` | 61 s | PyTorch 9.9 | `{'ab' * 32}` |" in card
    assert "| gate gain | 2.0 |" in card


def test_training_one_network_again_keeps_the_others(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    for measured in (MEASURED, replace(MEASURED, kind="se"), replace(MEASURED, validation=0.5)):
        write_model_card(tmp_path, measured)
    record = json.loads((tmp_path / "weights" / "measured.json").read_text())
    assert {kind: network["validation"] for kind, network in record.items()} == {"se": 0.875, "sk": 0.5}


def test_versions_are_of_what_the_drawings_rest_on() -> None:
    assert list(library_versions()) == ["Python", "PyTorch", "timm", "NumPy", "Pillow"]
