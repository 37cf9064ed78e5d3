"""Record and analyse the channel gates of neural networks.

>>> import se_probe
>>> recording = se_probe.excite("goldfish,pug,plane,cliff", data="imagenet/val")
>>> recording.gates("SE_5_2")  # (image, channel)

Names are imported when they are first used, so that `import se_probe` does not wait for torch.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from se_probe.ablation import Ablation, open_ablation
    from se_probe.costs import cost_table
    from se_probe.errors import SeProbeError
    from se_probe.folding import fold_gates, load_folded
    from se_probe.folding.result import FoldRun
    from se_probe.gates import GateMap, GateMapper, GateRecorder, GateSite, find_gates, gate_maps, intervene
    from se_probe.images import open_images, select
    from se_probe.images.public import fetch
    from se_probe.labels import LabelSpace, imagenet
    from se_probe.models import LoadedModel, load_model
    from se_probe.recording import Recording, merge, record, verify
    from se_probe.runs.ablate import ablate
    from se_probe.runs.analyse import write_analysis
    from se_probe.runs.change import change
    from se_probe.runs.change_result import ChangeRun, open_change_run
    from se_probe.runs.compare import compare
    from se_probe.runs.cost import CostReport, cost
    from se_probe.runs.draw import draw
    from se_probe.runs.excite import excite
    from se_probe.runs.fold import fold
    from se_probe.runs.recorded import open_recording
    from se_probe.runs.scale import scale
    from se_probe.runs.scale_result import ScaleRun, open_scale_run

_HOME = {
    "Ablation": "ablation",
    "ChangeRun": "runs.change_result",
    "CostReport": "runs.cost",
    "FoldRun": "folding.result",
    "GateMap": "gates",
    "GateMapper": "gates",
    "GateRecorder": "gates",
    "GateSite": "gates",
    "LabelSpace": "labels",
    "LoadedModel": "models",
    "Recording": "recording",
    "ScaleRun": "runs.scale_result",
    "SeProbeError": "errors",
    "ablate": "runs.ablate",
    "change": "runs.change",
    "compare": "runs.compare",
    "cost": "runs.cost",
    "cost_table": "costs",
    "draw": "runs.draw",
    "excite": "runs.excite",
    "fetch": "images.public",
    "find_gates": "gates",
    "fold": "runs.fold",
    "fold_gates": "folding",
    "gate_maps": "gates",
    "imagenet": "labels",
    "intervene": "gates",
    "load_folded": "folding",
    "load_model": "models",
    "merge": "recording",
    "open_ablation": "ablation",
    "open_change_run": "runs.change_result",
    "open_images": "images",
    "open_recording": "runs.recorded",
    "open_scale_run": "runs.scale_result",
    "record": "recording",
    "scale": "runs.scale",
    "select": "images",
    "verify": "recording",
    "write_analysis": "runs.analyse",
}

__all__ = [
    "Ablation",
    "ChangeRun",
    "CostReport",
    "FoldRun",
    "GateMap",
    "GateMapper",
    "GateRecorder",
    "GateSite",
    "LabelSpace",
    "LoadedModel",
    "Recording",
    "ScaleRun",
    "SeProbeError",
    "ablate",
    "change",
    "compare",
    "cost",
    "cost_table",
    "draw",
    "excite",
    "fetch",
    "find_gates",
    "fold",
    "fold_gates",
    "gate_maps",
    "imagenet",
    "intervene",
    "load_folded",
    "load_model",
    "merge",
    "open_ablation",
    "open_change_run",
    "open_images",
    "open_recording",
    "open_scale_run",
    "record",
    "scale",
    "select",
    "verify",
    "write_analysis",
]


_PARTS = ("analysis", "costs", "demo", "figures", "gates", "models")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("se-probe")
    if name in _PARTS:
        return import_module(f"se_probe.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'se_probe' has no attribute {name!r}")
    return getattr(import_module(f"se_probe.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, *_PARTS, "__version__"]
