"""Checkpoints: formats, containers, prefixes, and files that must be refused."""

from __future__ import annotations

import argparse
import os
import random
import resource
import struct
import tarfile
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.models import LoadedModel, load_model

BUILDER = """
from torch import nn

def build(classes=4):
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), pool, nn.Flatten(), nn.Linear(2, classes))

class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = build()

def wrapped():
    return Wrapped()
"""
NAMES = ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"]
NAMES += ["4.weight", "4.bias"]


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(BUILDER)
    return f"{tmp_path / 'net.py'}:build"


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    """Weights of the network that `build` returns, which no initialisation gives."""
    shapes = [(2, 3, 3, 3), (2,), (2,), (2,), (2,), (2,), (), (4, 2), (4,)]
    tensors = {name: torch.full(shape, 0.25 * i) for i, (name, shape) in enumerate(zip(NAMES, shapes, strict=True))}
    return {**tensors, "1.num_batches_tracked": torch.tensor(12)}


def load(spec: str, path: Path, content: object) -> LoadedModel:
    torch.save(content, path)
    return load_model(spec, checkpoint=path)


def refusal(spec: str, path: Path, content: object) -> str:
    with pytest.raises(SeProbeError) as caught:
        load(spec, path, content)
    return str(caught.value)


def holds(model: LoadedModel, state: dict[str, torch.Tensor]) -> bool:
    own = model.network.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[key], value) for key, value in state.items())


def test_safetensors_are_read(spec: str, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    safetensors.torch.save_file(state, tmp_path / "best.safetensors")
    model = load_model(spec, checkpoint=tmp_path / "best.safetensors")
    assert holds(model, state)
    assert model.weights == "checkpoint best.safetensors"


@pytest.mark.parametrize("container", ["state_dict", "model", "state_dict_ema", "model_ema"])
def test_nested_weights_are_found_and_named(
    spec: str, state: dict[str, torch.Tensor], tmp_path: Path, container: str
) -> None:
    model = load(spec, tmp_path / "c.pth", {"epoch": 3, container: state})
    assert holds(model, state)
    assert model.weights == f"checkpoint c.pth ({container})"


def test_averaged_weights_come_first(spec: str, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    other = {key: torch.zeros_like(value) for key, value in state.items()}
    content = {"state_dict": other, "state_dict_ema": state, "args": argparse.Namespace(lr=0.1)}
    model = load(spec, tmp_path / "c.pth.tar", content)
    assert holds(model, state)
    assert model.weights == "checkpoint c.pth.tar (state_dict_ema)"


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "backbone.", "module._orig_mod.", "_orig_mod.module."]
)
def test_prefixes_of_wrappers_are_stripped_and_named(
    spec: str, state: dict[str, torch.Tensor], tmp_path: Path, prefix: str
) -> None:
    model = load(spec, tmp_path / "c.pth", {"state_dict": {prefix + key: value for key, value in state.items()}})
    assert holds(model, state)
    assert model.weights == f'checkpoint c.pth (state_dict, prefix "{prefix}" stripped)'


def test_a_prefix_that_is_the_networks_own_stays(spec: str, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    own = {f"model.{key}": value for key, value in state.items()}
    model = load(spec.replace(":build", ":wrapped"), tmp_path / "c.pth", own)
    assert holds(model, own)
    assert model.weights == "checkpoint c.pth"


def test_counters_of_old_files_may_be_absent(spec: str, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    del state["1.num_batches_tracked"]
    assert holds(load(spec, tmp_path / "c.pth", state), {**state, "1.num_batches_tracked": torch.tensor(0)})


def test_missing_and_unexpected_tensors_are_counted_and_named(
    spec: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    for name in ("0.bias", "1.weight", "1.bias", "1.running_mean"):
        state[f"old.{name}"] = state.pop(name)
    state["5.bias"] = torch.zeros(1)
    assert refusal(spec, tmp_path / "c.pth", state) == (
        "c.pth does not fit net.py:build: of 9 tensors 4 missing (0.bias, 1.weight, 1.bias, …), "
        "5 left over (old.0.bias, old.1.weight, old.1.bias, …); expected every tensor of the network and no other"
    )


def test_another_number_of_classes_names_the_remedy(spec: str, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    state |= {"4.weight": torch.zeros(50, 2), "4.bias": torch.zeros(50)}
    assert refusal(spec, tmp_path / "c.pth", state) == (
        "c.pth does not fit net.py:build: of 9 tensors 2 of another shape (4.weight (50, 2) for (4, 2), "
        "4.bias (50,) for (4,)); the checkpoint's classifier has 50 classes, the network's 4; pass "
        "--model-arg num_classes=50"
    )


def test_other_shapes_suggest_no_class_count(spec: str, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    state["0.weight"] = torch.zeros(2, 3, 5, 5)
    assert refusal(spec, tmp_path / "c.pth", state) == (
        "c.pth does not fit net.py:build: of 9 tensors 1 of another shape "
        "(0.weight (2, 3, 5, 5) for (2, 3, 3, 3)); expected every tensor of the network and no other"
    )


class Payload:
    """What an attacker's pickle does: call something while it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


def test_a_pickle_that_would_run_code_is_refused_and_does_not(spec: str, tmp_path: Path) -> None:
    message = refusal(spec, tmp_path / "c.pth", {"state_dict": Payload(tmp_path / "pwned")})
    assert message == (
        f"c.pth holds more than tensors ({os.name}.mkdir), and unpickling could run code; "
        "save its state_dict() or a safetensors file and give that"
    )
    assert not (tmp_path / "pwned").exists()


def test_a_pickled_network_is_refused(spec: str, tmp_path: Path) -> None:
    assert refusal(spec, tmp_path / "c.pth", nn.Flatten()) == (
        "c.pth holds more than tensors (torch.nn.modules.flatten.Flatten), and unpickling could run code; "
        "save its state_dict() or a safetensors file and give that"
    )


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"epoch": 1, "lr": 0.1, "best": 0.5, "name": "x"}, "a dictionary of epoch, lr, best, …"),
        ({}, "an empty dictionary"),
        (torch.zeros(2), "a Tensor"),
        ([1, 2], "a list"),
        ({"model": "resnet"}, "a dictionary of model"),
    ],
)
def test_a_file_without_a_state_dict_says_what_it_holds(spec: str, tmp_path: Path, content: object, kind: str) -> None:
    assert refusal(spec, tmp_path / "c.pth", content) == (
        f"c.pth holds {kind}; expected a state dict (names and tensors), "
        "bare or under state_dict_ema, model_ema, state_dict, model"
    )


def test_a_missing_file_is_named(spec: str, tmp_path: Path) -> None:
    with pytest.raises(SeProbeError) as caught:
        load_model(spec, checkpoint=tmp_path / "none.pth")
    assert str(caught.value) == (
        f"there is no checkpoint file {tmp_path / 'none.pth'}; expected .safetensors or a PyTorch state dict"
    )


def test_damaged_files_are_named_in_one_line(spec: str, tmp_path: Path) -> None:
    for name in ("c.pth", "c.safetensors", "empty.pth"):
        (tmp_path / name).write_bytes(b"" if name == "empty.pth" else b"\x80\x02 no checkpoint at all")
    messages = {
        "c.pth": r"c\.pth is damaged or holds more than tensors, and unpickling could run code; "
        r"save its state_dict\(\) or a safetensors file and give that",
        "c.safetensors": r"c\.safetensors is not a readable safetensors file \(SafetensorError: [^\n]+\)",
        "empty.pth": r"empty\.pth is not a readable PyTorch checkpoint \(EOFError[^\n]*\); "
        r"expected \.safetensors or a state dict from torch\.save",
    }
    for name, message in messages.items():
        with pytest.raises(SeProbeError, match=f"^{message}$"):
            load_model(spec, checkpoint=tmp_path / name)


def rewritten(
    source: Path, target: Path, content: Callable[[bytes], bytes], compression: int = zipfile.ZIP_STORED
) -> Path:
    """A PyTorch file with another pickle in it."""
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w", compression) as after:
        for name in before.namelist():
            data = before.read(name)
            after.writestr(name, content(data) if name.endswith("data.pkl") else data)
    return target


def refused(spec: str, path: Path) -> str:
    with pytest.raises(SeProbeError) as caught:
        load_model(spec, checkpoint=path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def peak_memory() -> int:
    """The most memory that this process had, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_compressed_records_are_not_expanded(spec: str, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({**state, "zeros": torch.zeros(100_000)}, tmp_path / "c.pth")
    bomb = rewritten(tmp_path / "c.pth", tmp_path / "bomb.pth", bytes, zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(bomb) as archive:
        claimed = sum(record.file_size for record in archive.infolist())
    assert refused(spec, bomb) == (
        f"bomb.pth would unpack to {claimed} bytes and has {bomb.stat().st_size}; expected a checkpoint as torch.save "
        "writes it, without compression"
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_byte_arrays_of_any_length_are_not_made(spec: str, tmp_path: Path, zipped: bool) -> None:
    length = 2_000_000_000
    array = b"\x80\x02cbuiltins\nbytearray\nJ" + struct.pack("<i", length) + b"\x85R."
    torch.save({"w": torch.zeros(1)}, tmp_path / "c.pth", _use_new_zipfile_serialization=zipped)
    if zipped:
        path = rewritten(tmp_path / "c.pth", tmp_path / "array.pth", lambda _: array)
    else:
        whole = (tmp_path / "c.pth").read_bytes()
        path = tmp_path / "array.pth"
        path.write_bytes(whole[: whole.rindex(b"\x80\x02}")] + array)
    tracemalloc.start()
    try:
        message = refused(spec, path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert message == (
        "array.pth makes byte arrays, which no tensor needs and which could fill the memory; save its state_dict() or "
        "a safetensors file and give that"
    )
    assert peak < length / 2


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("elements", [10**9, 10**15])
def test_a_tensor_larger_than_its_bytes(spec: str, tmp_path: Path, zipped: bool, elements: int) -> None:
    def claim(pickled: bytes) -> bytes:
        place = pickled.index(b"K\x05", pickled.index(b"cpu"))
        return pickled[:place] + b"\x8a\x08" + struct.pack("<q", elements) + pickled[place + 2 :]

    torch.save({"w": torch.zeros(5)}, tmp_path / "c.pth", _use_new_zipfile_serialization=zipped)
    path = tmp_path / "claim.pth"
    if zipped:
        rewritten(tmp_path / "c.pth", path, claim)
    else:
        path.write_bytes(claim((tmp_path / "c.pth").read_bytes()))
    before = peak_memory()
    assert refused(spec, path).startswith("claim.pth is not a readable PyTorch checkpoint (RuntimeError: ")
    assert peak_memory() - before < 500_000_000


@pytest.mark.parametrize(
    ("header", "length"),
    [
        (b"{}", 2**60),
        (b"{}", 90_000_000),
        (b"{" * 50_000, None),
        (b'{"w":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}', None),
        (b'{"w":{"dtype":"F32","shape":[4611686018427387904,4611686018427387904],"data_offsets":[0,20]}}', None),
        (b'{"w":{"dtype":"F32","shape":[9],"data_offsets":[0,20]}}', None),
        (b'{"w":{"dtype":"F32","shape":[5],"data_offsets":[-20,0]}}', None),
        (b'{"w":{"dtype":"X99","shape":[5],"data_offsets":[0,20]}}', None),
    ],
)
def test_safetensors_that_claim_what_they_do_not_hold(
    spec: str, tmp_path: Path, header: bytes, length: int | None
) -> None:
    path = tmp_path / "c.safetensors"
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + bytes(20))
    before = peak_memory()
    assert refused(spec, path).startswith("c.safetensors is not a readable safetensors file (SafetensorError: ")
    assert peak_memory() - before < 100_000_000


def test_a_tar_is_not_unpacked(spec: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "c.pth", "w") as tar:
        link = tarfile.TarInfo("storages")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert refused(spec, tmp_path / "c.pth") == (
        "c.pth is a tar, as PyTorch wrote before version 0.2; save its state_dict() or a safetensors file and give that"
    )


def test_tensors_without_values(spec: str, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({**state, "4.bias": torch.empty(4, device="meta")}, tmp_path / "c.pth")
    assert refused(spec, tmp_path / "c.pth").startswith("c.pth cannot be loaded into net.py:build (RuntimeError: ")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_file_is_refused_in_one_line_wherever_it_is_damaged(
    spec: str, state: dict[str, torch.Tensor], tmp_path: Path, zipped: bool
) -> None:
    torch.save(state, tmp_path / "c.pth", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "c.pth").read_bytes()
    rng = random.Random(0)
    outcomes = Counter()
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(rng.choice((1, 3, 30))):
            damaged[rng.randrange(min(len(whole), 1500))] = rng.randrange(256)
        (tmp_path / "d.pth").write_bytes(damaged[: rng.choice((len(whole), rng.randrange(len(whole))))])
        try:
            load_model(spec, checkpoint=tmp_path / "d.pth")
            outcomes["read"] += 1
        except SeProbeError as error:
            outcomes["refused" if "\n" not in str(error) else "long"] += 1
    assert outcomes["refused"] > 75
    assert not outcomes["long"]
