"""A folded network on disk and back, bit for bit, with se-probe and without it."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.folding import fold_gates, load_folded, rebuild, write_folded
from se_probe.folding.saved import builder_of
from se_probe.gates import find_gates
from se_probe.models import load_model

BUILDER = """
import torch
from torch import nn
from tests.folding.networks import Around, norm
from tests.gates.networks import Functional

def tiny():
    torch.manual_seed(1)
    network = Around(nn.Sequential(nn.Conv2d(3, 8, 3), norm()), Functional(), nn.Conv2d(8, 4, 1))
    network.pretrained_cfg = {"input_size": (3, 16, 16), "num_classes": 4}
    return network
"""


def fold_model(model, names=None):
    """Fold sites of a loaded model into constants drawn at random."""
    rng = np.random.default_rng(0)
    sites = [site for site in find_gates(model.network, model.input_size) if names is None or site.name in names]
    constants = {}
    for site in sites:
        shape = (site.branches, site.channels) if site.branches > 1 else (site.channels,)
        constants[site] = rng.uniform(0.1, 1, shape)
    batch = torch.randn(2, *model.input_size, generator=torch.Generator().manual_seed(0))
    return fold_gates(model.network, constants, batch)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A timm network with layers folded, and a fixed multiply left, saved."""
    torch.set_num_threads(1)
    arguments = {"num_classes": 5}
    model = load_model("test_efficientnet", random_weights=True, model_args=arguments)
    folded = fold_model(model)
    folder = tmp_path_factory.mktemp("saved") / "folded"
    write_folded(folder, folded, builder_of("test_efficientnet", arguments), {"note": "kept"})
    return folder, folded, model


def batch_for(model):
    return torch.randn(3, *model.input_size, generator=torch.Generator().manual_seed(7))


def same(first, second):
    states = first.state_dict(), second.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


def test_round_trip_is_bit_for_bit(saved):
    folder, folded, model = saved
    assert sorted(path.name for path in folder.iterdir()) == ["folded.json", "load.py", "model.safetensors"]
    loaded = load_folded(folder)
    assert same(loaded.network, folded.network)
    assert (loaded.input_size, loaded.preprocessing) == (model.input_size, model.preprocessing)
    batch = batch_for(model)
    with torch.no_grad():
        assert torch.equal(loaded.network(batch), folded.network(batch))
    assert not loaded.network.training
    assert json.loads((folder / "folded.json").read_text())["note"] == "kept"


def test_the_run_folder_itself_can_be_given(saved):
    folder, folded, _ = saved
    assert same(load_folded(folder.parent).network, folded.network)


def test_fixed_multiplies_and_branches_come_back(tmp_path):
    for name, arguments in (("convnextv2_atto", {"depths": (1, 1, 1, 1), "dims": (8, 16, 16, 16)}), ("demo:sk", {})):
        model = load_model(name, model_args=arguments, random_weights=not name.startswith("demo"))
        folded = fold_model(model)
        assert folded.fixed
        folder = tmp_path / name.replace(":", "-")
        write_folded(folder, folded, builder_of(name, arguments), {})
        assert same(load_folded(folder).network, folded.network)


def test_loads_without_se_probe(saved, tmp_path):
    folder, folded, model = saved
    batch = batch_for(model)
    with torch.no_grad():
        save_file({"batch": batch, "expected": folded.network(batch)}, tmp_path / "check.safetensors")
    script = f"""
import sys, torch
sys.path.insert(0, {str(folder)!r})
from load import load
from safetensors.torch import load_file
torch.set_num_threads(1)
check = load_file({str(tmp_path / "check.safetensors")!r})
with torch.no_grad():
    print(torch.equal(load()(check["batch"]), check["expected"]), "se_probe" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.split() == ["True", "False"], done.stderr


def copied(folder, target):
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def changed_json(folder, target, **changes):
    place = copied(folder, target)
    facts = json.loads((place / "folded.json").read_text())
    (place / "folded.json").write_text(json.dumps({**facts, **changes}))
    return place


def test_changed_weights_are_refused(saved, tmp_path):
    place = copied(saved[0], tmp_path / "changed")
    data = bytearray((place / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (place / "model.safetensors").write_bytes(bytes(data))
    with pytest.raises(SeProbeError, match=r"model\.safetensors has sha256 .*one of them was changed"):
        load_folded(place)


def test_a_missing_or_other_tensor_is_refused(saved, tmp_path):
    place = copied(saved[0], tmp_path / "less")
    tensors = load_file(place / "model.safetensors")
    tensors.pop("classifier.bias")
    save_file(tensors, place / "model.safetensors")
    import hashlib

    digest = hashlib.sha256((place / "model.safetensors").read_bytes()).hexdigest()
    facts = json.loads((place / "folded.json").read_text())
    (place / "folded.json").write_text(json.dumps({**facts, "weights_sha256": digest}))
    with pytest.raises(SeProbeError, match=r"model\.safetensors does not fit the network .*classifier\.bias"):
        load_folded(place)


@pytest.mark.parametrize(
    "builder",
    [
        {"source": "timm", "name": "hf-hub:someone/network", "arguments": {}},
        {"source": "timm", "name": "local-dir:/tmp/network", "arguments": {}},
        {"source": "timm", "name": "../network", "arguments": {}},
        {"source": "timm", "name": "test_efficientnet", "arguments": {"checkpoint_path": "/tmp/weights.pth"}},
        {"source": "torchvision", "name": "resnet18", "arguments": {"weights": "DEFAULT"}},
        {"source": "torchvision", "name": "resnet18", "arguments": {"weights_backbone": "DEFAULT"}},
        {"source": "timm", "name": "test_efficientnet", "arguments": {"pretrained_cfg_overlay": {"file": "/tmp/x"}}},
        {"source": "timm", "name": "test_efficientnet", "arguments": {"act_layer": {"code": "x"}}},
        {"source": "timm", "name": "test_efficientnet", "arguments": "no mapping"},
        {"source": "timm", "name": 7, "arguments": {}},
    ],
)
def test_a_builder_that_would_read_something_else_is_refused(saved, tmp_path, builder):
    place = changed_json(saved[0], tmp_path / "other", builder=builder)
    with pytest.raises(SeProbeError, match=r"folded\.json asks for .* which this loader does not build"):
        load_folded(place)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("buffer", "x = __import__('os').system('touch pwned')"),
        ("buffer", "fixed_gate_0; import os"),
        ("buffer", "forward"),
        ("buffer", 3),
        ("node", "mul\n    import os"),
        ("node", None),
        ("operand", -1),
        ("operand", "0"),
        ("operand", True),
        ("shape", [1, 10**12]),
        ("shape", [1, -3]),
        ("shape", "16"),
        ("dtype", "load"),
        ("dtype", ["float32"]),
    ],
)
def test_what_no_fold_writes_is_refused_before_anything_is_built(saved, tmp_path, monkeypatch, field, value):
    monkeypatch.chdir(tmp_path)
    facts = json.loads((saved[0] / "folded.json").read_text())
    product = {"node": "mul", "operand": 1, "buffer": "fixed_gate_0", "shape": [1, 16, 1, 1], "dtype": "float32"}
    edit = {"module": facts["edits"][0]["module"], "products": [{**product, field: value}]}
    place = changed_json(saved[0], tmp_path / "changed", edits=[edit])
    with pytest.raises(SeProbeError, match=r"folded\.json describes no change that a fold makes"):
        load_folded(place)
    with pytest.raises(rebuild.RebuildError, match="describes no change that a fold makes"):
        rebuild.load(place)
    assert [path.name for path in tmp_path.iterdir()] == ["changed"]


@pytest.mark.parametrize("path", ["a b", "a..b", ".", "a.b\nimport os", 5, None])
def test_a_path_that_is_none_is_refused(saved, tmp_path, path):
    place = changed_json(saved[0], tmp_path / "changed", edits=[{"module": path, "products": []}])
    with pytest.raises(SeProbeError, match=r"folded\.json describes no change that a fold makes"):
        load_folded(place)


@pytest.mark.parametrize("name", ["deeplabv3_resnet50", "fasterrcnn_resnet50_fpn"])
def test_torchvision_networks_that_fetch_a_backbone_are_refused(name):
    # Were one built, its constructor would ask the network for the backbone's weights and fail otherwise.
    with pytest.raises(rebuild.RebuildError, match=f"torchvision has no classification network '{name}'"):
        rebuild.build({"source": "torchvision", "name": name, "arguments": {}})


def test_structure_of_another_network_is_refused(saved, tmp_path):
    facts = json.loads((saved[0] / "folded.json").read_text())
    (edit, *_) = facts["edits"]
    nowhere = changed_json(saved[0], tmp_path / "a", edits=[{**edit, "module": "no.such"}])
    with pytest.raises(SeProbeError, match=r"the network has no module 'no\.such', which folded\.json changes"):
        load_folded(nowhere)
    products = [{**edit["products"][0], "node": "no_product"}]
    other = changed_json(saved[0], tmp_path / "b", edits=[{**edit, "products": products}])
    with pytest.raises(SeProbeError, match="has no product 'no_product' to change"):
        load_folded(other)
    later = changed_json(saved[0], tmp_path / "c", schema=99)
    with pytest.raises(SeProbeError, match="has schema 99; this loader reads schema 1"):
        load_folded(later)
    with pytest.raises(SeProbeError, match=r"holds no readable folded\.json"):
        load_folded(tmp_path)


def test_a_python_file_is_run_only_where_it_is_named(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(BUILDER)
    spec = f"{file}:tiny"
    model = load_model(spec)
    folded = fold_model(model)
    write_folded(tmp_path / "run", folded, builder_of(spec, None), {})
    told = f"the network was built by {spec}, which is not run on the word of a file"
    with pytest.raises(SeProbeError, match=re.escape(told)):
        load_folded(tmp_path / "run")
    assert same(load_folded(tmp_path / "run", spec).network, folded.network)
    assert same(load_folded(tmp_path / "run", model.network).network, folded.network)
    assert same(load_folded(tmp_path / "run", replace(model, name="any")).network, folded.network)
    file.write_text(BUILDER + "\n# changed\n")
    with pytest.raises(SeProbeError, match=r"mine\.py has sha256 .* the network was folded from a file with"):
        load_folded(tmp_path / "run", spec)


def test_half_precision_stays(tmp_path):
    model = load_model("test_efficientnet", random_weights=True)
    model.network.to(torch.bfloat16)
    sites = find_gates(model.network, model.input_size)
    batch = torch.randn(2, *model.input_size, dtype=torch.bfloat16)
    folded = fold_gates(model.network, {site: np.full(site.channels, 0.5) for site in sites}, batch)
    write_folded(tmp_path, folded, builder_of("test_efficientnet", None), {})
    loaded = load_folded(tmp_path).network
    assert {item.dtype for item in loaded.parameters()} == {torch.bfloat16}
    assert same(loaded, folded.network)


def test_nothing_is_pickled(saved):
    folder = saved[0]
    assert isinstance(load_file(folder / "model.safetensors"), dict)
    assert Path(folder / "load.py").read_text() == Path(sys.modules["se_probe.folding.rebuild"].__file__).read_text()
    assert isinstance(load_folded(folder).network, nn.Module)
