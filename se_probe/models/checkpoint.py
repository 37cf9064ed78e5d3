"""Read a state dict without unpickling code, and load it completely into a network."""

from __future__ import annotations

import argparse
import pickle
import pickletools
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from se_probe.errors import SeProbeError, one_line

# Averaged weights first, as timm reads its own training checkpoints.
_CONTAINERS = ("state_dict_ema", "model_ema", "state_dict", "model")
# DataParallel, torch.compile, Lightning modules, and backbones.
_PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.")
_NAMES_SHOWN = 3
_REMEDY = "save its state_dict() or a safetensors file and give that"
_DAMAGED: tuple[type[Exception], ...] = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(ValueError, IndexError, OverflowError, MemoryError, RuntimeError),
)
_LEGACY_PICKLES = 4  # magic number, protocol, system, content; the tensors' bytes follow


def apply_checkpoint(network: torch.nn.Module, path: Path, name: str) -> str:
    """Load every tensor of a checkpoint into the network and return a phrase that says what was used.

    Prefixes that wrappers put before every name are stripped where that makes the names fit.
    """
    stored, container = read_checkpoint(path)
    expected = {key: value for key, value in network.state_dict().items() if isinstance(value, torch.Tensor)}
    prefix, tensors = _without_prefix(stored, expected)
    # Files from before PyTorch 0.4.1 lack these counters, which evaluation never reads.
    counters = {key: value for key, value in expected.items() if key.endswith("num_batches_tracked")}
    tensors = {**counters, **tensors}
    _require_fit(tensors, expected, path.name, name)
    try:
        network.load_state_dict(tensors, strict=True)
    except RuntimeError as error:  # of the right shape, but sparse, quantised or without values
        raise SeProbeError(
            f"{path.name} cannot be loaded into {name} ({one_line(error)}); expected plain tensors"
        ) from error
    notes = [container or "", f'prefix "{prefix}" stripped' if prefix else ""]
    used = ", ".join(note for note in notes if note)
    return f"checkpoint {path.name}" + (f" ({used})" if used else "")


def read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], str | None]:
    """Return the tensors of a safetensors file or of a PyTorch file without code, and the entry with them, if any."""
    if not path.is_file():
        raise SeProbeError(f"there is no checkpoint file {path}; expected .safetensors or a PyTorch state dict")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    container = None
    if isinstance(content, Mapping):
        container = next((key for key in _CONTAINERS if isinstance(content.get(key), Mapping)), None)
    tensors = content[container] if isinstance(content, Mapping) and container else content
    if not isinstance(tensors, Mapping) or not tensors or not all(map(torch.is_tensor, tensors.values())):
        raise SeProbeError(
            f"{path.name} holds {_kind(content)}; expected a state dict (names and tensors), "
            f"bare or under {', '.join(_CONTAINERS)}"
        )
    return {str(key): value for key, value in tensors.items()}, container


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path, device="cpu")
    except (SafetensorError, OSError, KeyError) as error:
        raise SeProbeError(f"{path.name} is not a readable safetensors file ({one_line(error)})") from error


def _read_torch(path: Path) -> object:
    check_expansion(path)
    try:
        # timm's training checkpoints keep their arguments in a Namespace, which is plain data.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise SeProbeError(f"{path.name} {_blocked(path)}, and unpickling could run code; {_REMEDY}") from error
    except Exception as error:  # reading a damaged pickle raises nearly any type
        raise SeProbeError(
            f"{path.name} is not a readable PyTorch checkpoint ({one_line(error)}); "
            "expected .safetensors or a state dict from torch.save"
        ) from error


def _blocked(path: Path) -> str:
    """Return what keeps a file from being read as tensors alone."""
    names: Sequence[str] = ()
    with suppress(Exception):  # for the message only
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    return f"holds more than tensors ({_shorten(names)})" if names else "is damaged or holds more than tensors"


def _kind(content: object) -> str:
    if isinstance(content, Mapping):
        return f"a dictionary of {_shorten([str(key) for key in content])}" if content else "an empty dictionary"
    return f"a {type(content).__name__}"


def _without_prefix(
    tensors: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> tuple[str, Mapping[str, torch.Tensor]]:
    """Return the prefix whose removal makes most names fit, and the tensors without it."""
    removed = ""
    tried = [(removed, tensors)]
    while prefix := next((p for p in _PREFIXES if all(key.startswith(p) for key in tensors)), None):
        removed += prefix
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
        tried.append((removed, tensors))
    return max(tried, key=lambda stripped: len(stripped[1].keys() & expected.keys()))


def _require_fit(
    tensors: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], file: str, name: str
) -> None:
    reshaped = {
        key: (tuple(tensors[key].shape), tuple(value.shape))
        for key, value in expected.items()
        if key in tensors and tensors[key].shape != value.shape
    }
    found = {
        "missing": [key for key in expected if key not in tensors],
        "left over": [key for key in tensors if key not in expected],
        "of another shape": [f"{key} {given} for {wanted}" for key, (given, wanted) in reshaped.items()],
    }
    problems = [f"{len(names)} {what} ({_shorten(names)})" for what, names in found.items() if names]
    if problems:
        remedy = _class_count_hint(list(reshaped.values())) or "expected every tensor of the network and no other"
        raise SeProbeError(f"{file} does not fit {name}: of {len(expected)} tensors {', '.join(problems)}; {remedy}")


def _class_count_hint(shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> str | None:
    """Return a remedy where all misfits are the same change of the first dimension, as in a classifier."""
    counts = {(given[:1], wanted[:1]) for given, wanted in shapes}
    if len(counts) != 1 or any(given[1:] != wanted[1:] for given, wanted in shapes):
        return None
    given, wanted = (sum(first) for first in counts.pop())
    return (
        f"the checkpoint's classifier has {given} classes, the network's {wanted}; pass --model-arg num_classes={given}"
    )


def _shorten(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    return f"{shown}, …" if len(names) > _NAMES_SHOWN else shown


def check_expansion(path: Path) -> None:
    """Refuse a file that could fill the memory or the disk when it is read.

    PyTorch compares the size of every tensor with the bytes stored for it. But it decompresses records, which
    `torch.save` never writes compressed, allocates byte arrays of any length that a pickle names, and unpacks the
    tars of its first versions into a temporary folder. A file that cannot be parsed here is left to PyTorch to report.
    """
    if zipfile.is_zipfile(path):
        with suppress(*_DAMAGED), zipfile.ZipFile(path) as archive:
            _check_zip(path, archive)
    elif tarfile.is_tarfile(path):
        raise SeProbeError(f"{path.name} is a tar, as PyTorch wrote before version 0.2; {_REMEDY}")
    else:
        with path.open("rb") as stream:
            for _ in range(_LEGACY_PICKLES):
                _check_pickle(path, stream)


def _check_zip(path: Path, archive: zipfile.ZipFile) -> None:
    claimed, size = sum(record.file_size for record in archive.infolist()), path.stat().st_size
    if claimed > size:
        raise SeProbeError(
            f"{path.name} would unpack to {claimed} bytes and has {size}; expected a checkpoint as torch.save writes "
            "it, without compression"
        )
    for name in archive.namelist():
        if name.endswith(".pkl"):
            with archive.open(name) as stream:
                _check_pickle(path, stream)


def _check_pickle(path: Path, stream: IO[bytes]) -> None:
    if any(name.rpartition(" ")[2] == "bytearray" for name in _globals(stream)):
        raise SeProbeError(
            f"{path.name} makes byte arrays, which no tensor needs and which could fill the memory; {_REMEDY}"
        )


def _globals(stream: IO[bytes]) -> Iterator[str]:
    """Yield the globals of a pickle as `module name`, without calling anything."""
    # A damaged pickle ends the search; PyTorch fails at the same place.
    with suppress(*_DAMAGED):
        for code, argument, _ in pickletools.genops(stream):
            if code.name == "GLOBAL":
                yield str(argument)
