import hashlib
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config

import se_probe.demo
from se_probe.demo import DEMO_CLASSES, DEMO_MODELS, demo_network, draw, draw_background
from se_probe.errors import SeProbeError
from tools.demo.evaluation import accuracy, gate_spreads, normalised, stimulus_batch

HERE = Path(se_probe.demo.__file__).parent
MEASURED: dict[str, Any] = json.loads((files("se_probe.demo") / "weights" / "measured.json").read_text())
INSTANCES = range(10)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def drawings() -> tuple[torch.Tensor, torch.Tensor]:
    return stimulus_batch(INSTANCES)


@pytest.fixture(scope="module", params=DEMO_MODELS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def network(kind: str) -> torch.nn.Module:
    return demo_network(kind)


def test_there_are_three_kinds() -> None:
    assert DEMO_MODELS == ("se", "sk", "sa")


def test_weights_are_about_a_megabyte_and_those_of_the_card(kind: str) -> None:
    weights = (HERE / "weights" / f"{kind}.safetensors").read_bytes()
    assert len(weights) <= 1.1e6
    assert hashlib.sha256(weights).hexdigest() == MEASURED[kind]["sha256"]


def test_network_is_ready_to_run(network: torch.nn.Module) -> None:
    assert not network.training
    assert network.pretrained_cfg["label_names"] == [image_class.wnid for image_class in DEMO_CLASSES.classes]
    assert network.pretrained_cfg["input_size"] == (3, 96, 96)
    assert network(torch.zeros(2, 3, 96, 96)).shape == (2, 10)


def test_timm_preprocesses_as_training_did(network: torch.nn.Module) -> None:
    transform = create_transform(**resolve_data_config(model=network))
    pixels, _ = stimulus_batch(range(1))
    assert torch.allclose(transform(draw("goldfish", 0)), normalised(pixels)[0], atol=1e-5)


def test_held_out_accuracy_is_that_of_the_card(
    kind: str, network: torch.nn.Module, drawings: tuple[torch.Tensor, torch.Tensor]
) -> None:
    stated = MEASURED[kind]["held_out"]["as drawn"]
    assert stated >= 0.95
    assert accuracy(network, *drawings) >= stated - 0.05


def test_background_alone_does_not_name_the_class(network: torch.nn.Module) -> None:
    assert accuracy(network, *stimulus_batch(INSTANCES, draw_background)) < 0.25


def test_colour_is_not_needed(network: torch.nn.Module) -> None:
    def grey(name: str, instance: int) -> Image.Image:
        return draw(name, instance).convert("L").convert("RGB")

    assert accuracy(network, *stimulus_batch(INSTANCES, grey)) > 0.9


def test_gates_are_alive(network: torch.nn.Module, drawings: tuple[torch.Tensor, torch.Tensor]) -> None:
    spreads = gate_spreads(network, drawings[0])
    assert len(spreads) == 9
    for gate in spreads:
        assert gate.spread > 0.01, gate
        assert gate.alive > 0.5, gate


def test_gate_spreads_leave_no_hook(network: torch.nn.Module, drawings: tuple[torch.Tensor, torch.Tensor]) -> None:
    gate_spreads(network, drawings[0][:2])
    assert not any(module._forward_hooks for module in network.modules())


def test_sites_are_named_by_stage_and_block(kind: str, drawings: tuple[torch.Tensor, torch.Tensor]) -> None:
    blocks = ("2_1", "2_2", "3_1", "3_2", "4_1", "4_2", "5_1", "5_2", "5_3")
    sites = [gate.site for gate in gate_spreads(demo_network(kind), drawings[0][:2])]
    assert sites == [f"{kind.upper()}_{block}" for block in blocks]


def test_last_map_is_of_stride_32(network: torch.nn.Module) -> None:
    assert network.forward_features(torch.zeros(1, 3, 96, 96)).shape[2:] == (3, 3)


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(SeProbeError) as caught:
        demo_network("eca")
    assert str(caught.value) == "there is no demo network 'eca'; choose one of se, sk, sa"


def test_model_card_states_what_was_measured(kind: str) -> None:
    card = (HERE / "MODEL_CARD.md").read_text()
    assert MEASURED[kind]["sha256"] in card
    for value in MEASURED[kind]["held_out"].values():
        assert f" {value:.3f} |" in card
    for gate in MEASURED[kind]["gates"]:
        assert f"| {gate['site']} | {gate['mean']:.3f} |" in card
    assert "not photographs" in card
