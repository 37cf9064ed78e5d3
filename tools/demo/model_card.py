"""Write the measurements of the demo's networks: measured.json for programs, MODEL_CARD.md for people."""

import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy
import PIL
import timm
import torch

from se_probe.demo.networks import DEMO_MODELS
from se_probe.demo.subjects import SUBJECTS
from tools.demo.evaluation import LIVE_GATE_SPREAD, GateSpread

_TITLES = {
    "se": "squeeze-and-excitation (`seresnet50` layout)",
    "sk": "selective kernels (`skresnext50_32x4d` layout)",
    "sa": "split attention (`resnest14d` layout)",
}


@dataclass(frozen=True)
class Measured:
    """Measurements of a trained network.

    Attributes:
        kind: "se", "sk" or "sa".
        plan: training settings by name.
        parameters: number of parameters.
        sha256: of the weights' file.
        seconds: time for drawing and training on one thread.
        validation: accuracy on the instances used to choose settings.
        held_out: accuracy by condition on the held-out instances.
        gates: spread of the gates over the held-out instances, by site.
        versions: of the libraries.
    """

    kind: str
    plan: Mapping[str, object]
    parameters: int
    sha256: str
    seconds: int
    validation: float
    held_out: Mapping[str, float]
    gates: list[GateSpread]
    versions: Mapping[str, str]


def library_versions() -> dict[str, str]:
    """Return the versions that drawings and training depend on."""
    return {
        "Python": platform.python_version(),
        "PyTorch": str(torch.__version__),
        "timm": timm.__version__,
        "NumPy": numpy.__version__,
        "Pillow": PIL.__version__,
    }


def write_model_card(folder: Path, measured: Measured) -> None:
    """Update a network in the folder's measured.json, and rewrite MODEL_CARD.md."""
    path = folder / "weights" / "measured.json"
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    known[measured.kind] = asdict(measured)
    networks = [known[kind] for kind in DEMO_MODELS if kind in known]
    path.write_text(json.dumps({network["kind"]: network for network in networks}, indent=1) + "\n")
    sections = [_introduction(), _accuracy(networks), _gates(networks), _training(networks)]
    (folder / "MODEL_CARD.md").write_text("\n\n".join(sections) + "\n")


def _introduction() -> str:
    return f"""\
# The networks of the demo

Three small image classifiers for trying se-probe without a download (`se-probe excite --demo`) and for tests against
stimuli with known factors (scale, position, pose, colour, lighting, background). They are built with timm and trained
by `tools/demo/train.py` on drawings from `se_probe/demo/stimuli.py` of ten ImageNet classes:
{", ".join(SUBJECTS)}.

**Drawings are not photographs.** These networks are for demonstration and tests only and say nothing about networks
trained on ImageNet; every figure made from them says "demo". Only the drawn shape identifies the class: colours overlap
between classes, and the background is independent of the class (its colour only has to contrast with the body's).

Licence: drawings and weights were made for this repository and carry its licence (MIT)."""


def _accuracy(networks: list[dict[str, Any]]) -> str:
    conditions = list(networks[0]["held_out"])
    header = ["network", "parameters", *conditions, "validation"]
    rows = [
        [
            f"`{network['kind']}` {_TITLES[network['kind']]}",
            f"{network['parameters']:,}",
            *[f"{network['held_out'][condition]:.3f}" for condition in conditions],
            f"{network['validation']:.3f}",
        ]
        for network in networks
    ]
    return f"""\
## Accuracy

Top-1 accuracy on 500 held-out drawings (instances 0 to 49 of each class, never trained on): as drawn; in grey; with the
body in another class's colour; background only (chance is 0.100). Settings were compared on the validation drawings,
instances 500 to 529 of each class, as drawn.

{_table(header, rows)}"""


def _gates(networks: list[dict[str, Any]]) -> str:
    header = ["site", "mean gate", "lowest", "highest", "spread", "alive"]
    rows = [
        [gate["site"], *[f"{gate[key]:.3f}" for key in ("mean", "lowest", "highest", "spread", "alive")]]
        for network in networks
        for gate in network["gates"]
    ]
    return f"""\
## Gates

Over the held-out drawings. Spread: standard deviation over drawings, median over channels. Alive: share of channels
whose spread is above {LIVE_GATE_SPREAD}. Selective-kernel (SK) and split-attention (SA) gates sum to 1 over two
branches, so their mean is 0.5.

{_table(header, rows)}"""


def _training(networks: list[dict[str, Any]]) -> str:
    settings = list(networks[0]["plan"])
    plans = [
        [setting.replace("_", " "), *[str(network["plan"][setting]) for network in networks]] for setting in settings
    ]
    runs = [
        [
            f"`{network['kind']}`",
            f"{network['seconds']} s",
            ", ".join(f"{library} {version}" for library, version in network["versions"].items()),
            f"`{network['sha256']}`",
        ]
        for network in networks
    ]
    return f"""\
## Training

    python -m tools.demo.train          # or, for one network: python -m tools.demo.train se

AdamW, one-cycle schedule, one thread. A sixth of the training drawings are grey; a quarter have permuted colour
channels. Layers that feed a gate have no weight decay, which would drive every gate to 0.5, and a lower learning rate
(excitation rate), because at full rate gates saturate at 1. Retraining gives the same weights bit for bit on the same
machine and versions; elsewhere expect the accuracy above within a few percent. Times are from a busy machine; an idle
core needs a third.

{_table(["setting", *[f"`{network['kind']}`" for network in networks]], plans)}

{_table(["network", "drawing and training", "versions", "SHA-256 of the weights"], runs)}"""


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
