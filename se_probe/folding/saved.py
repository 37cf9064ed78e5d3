"""Write and load a folded network: weights, structure and a loader in one folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.folding import rebuild
from se_probe.folding.surgery import Folded
from se_probe.io.files import write_file
from se_probe.models import LoadedModel, load_model, model_of
from se_probe.models.network import state_digest
from se_probe.models.spec import parse_spec
from se_probe.recording.run_folder import FOLDED

LOADER = "load.py"


def builder_of(model: str | nn.Module | LoadedModel, model_args: Mapping[str, object] | None) -> dict[str, Any]:
    """Describe the source of a network before folding, for `folded.json`.

    For a Python file this includes its path and SHA-256, because the file is needed to load the folded network.
    """
    if not isinstance(model, str):
        return {"source": "memory", "spec": "code of your own", "name": "", "arguments": {}}
    source, rest = parse_spec(model)
    facts = {"source": source, "spec": model, "name": rest, "arguments": dict(model_args or {})}
    if source != "file":
        return facts
    path = Path(rest.rpartition(":")[0]).expanduser().resolve()
    return {**facts, "path": str(path), "file_sha256": _sha256(path)}


def write_folded(folder: Path, folded: Folded, builder: Mapping[str, Any], facts: Mapping[str, Any]) -> list[Path]:
    """Write a folded network into a folder; return the files.

    Args:
        folder: where `model.safetensors`, `load.py` and, last, `folded.json` are written.
        folded: the network.
        builder: what `builder_of` returned for the original network.
        facts: JSON-able values that are kept beside the structure: provenance, accuracy, timing ...

    Raises:
        SeProbeError: the folder cannot be written.
    """
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in folded.network.state_dict().items()}
    weights = save(state, metadata={"format": "pt"})
    structure = {
        "schema": rebuild.SCHEMA,
        "builder": dict(builder),
        "edits": list(folded.edits),
        "sites": [asdict(item) for item in folded.sites],
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    files = {
        rebuild.WEIGHTS: weights,
        LOADER: Path(rebuild.__file__).read_bytes(),
        rebuild.FACTS: (json.dumps({**structure, **facts}, indent=2, ensure_ascii=False) + "\n").encode(),
    }
    for name, data in files.items():
        write_file(folder / name, data)
    return [folder / name for name in files]


def load_folded(folder: str | Path, network: str | nn.Module | LoadedModel | None = None) -> LoadedModel:
    """Load a folded network, ready to run or record.

    Args:
        folder: the folder of a run of `se-probe fold`, or the `folded` in it.
        network: the network before it was folded, by name (see `load_model`) or in memory, with any weights. timm,
            torchvision and the demo need none; the code of a Python file or of a hub repository is run only if it is
            named here.

    Raises:
        SeProbeError: a file is missing or was changed, or the network is needed or does not fit.
    """
    place = Path(folder)
    place = place / FOLDED if (place / FOLDED).is_dir() else place
    try:
        facts = rebuild.read_facts(place)
        unfolded = _unfolded(facts["builder"], network)
        folded = rebuild.load(place, unfolded.network)
    except rebuild.RebuildError as error:
        raise SeProbeError(f"{error}.") from error
    weights = f"folded weights of {place}"
    return replace(unfolded, network=folded, weights=weights, weights_sha256=state_digest(folded.state_dict()))


def _unfolded(builder: Mapping[str, Any], network: str | nn.Module | LoadedModel | None) -> LoadedModel:
    """Return the network before folding, with any weights."""
    if isinstance(network, LoadedModel):
        return network
    if isinstance(network, nn.Module):
        return model_of(network)
    if network is None:
        source, name, arguments = rebuild.checked_builder(builder)
        spec = name if source == "timm" else f"{source}:{name}"
        return load_model(spec, model_args=arguments, random_weights=source not in {"demo", "photo"})
    source, rest = parse_spec(network)
    if source == "file" and "file_sha256" in builder:
        path, expected = Path(rest.rpartition(":")[0]).expanduser(), str(builder["file_sha256"])
        if (found := _sha256(path)) != expected:
            raise SeProbeError(
                f"{path} has sha256 {found[:12]}…, but the network was folded from a file with {expected[:12]}…; pass "
                "the file as it was, or build the network and pass that."
            )
    return load_model(
        network, model_args=builder.get("arguments"), random_weights=source not in {"file", "demo", "photo"}
    )


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise SeProbeError(
            f"{path} cannot be read ({error.strerror}); expected the Python file of the network."
        ) from error
