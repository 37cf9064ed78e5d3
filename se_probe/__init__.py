"""Record and analyse the channel gates of neural networks.

>>> import se_probe
>>> recording = se_probe.excite("goldfish,pug,plane,cliff", data="imagenet/val")
>>> recording.gates("SE_5_2")  # (image, channel)

Names are imported when they are first used, so that `import se_probe` does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from se_probe.ablating import ablate
    from se_probe.ablation import Ablation, open_ablation
    from se_probe.comparing import compare
    from se_probe.costing import CostReport, cost
    from se_probe.costs import cost_table
    from se_probe.drawing import draw
    from se_probe.errors import SeProbeError
    from se_probe.fetching import fetch
    from se_probe.fold_run import FoldRun
    from se_probe.fold_search import fold
    from se_probe.folding import fold_gates, load_folded
    from se_probe.gates import GateRecorder, GateSite, find_gates, intervene
    from se_probe.images import open_images, select
    from se_probe.labels import LabelSpace, imagenet
    from se_probe.models import LoadedModel, load_model
    from se_probe.pipeline import excite, write_analysis
    from se_probe.recording import Recording, merge, open_recording, record, verify
    from se_probe.scale_run import ScaleRun, open_scale_run
    from se_probe.scaling import scale

_HOME = {
    "Ablation": "ablation",
    "CostReport": "costing",
    "FoldRun": "fold_run",
    "GateRecorder": "gates",
    "GateSite": "gates",
    "LabelSpace": "labels",
    "LoadedModel": "models",
    "Recording": "recording",
    "ScaleRun": "scale_run",
    "SeProbeError": "errors",
    "ablate": "ablating",
    "compare": "comparing",
    "cost": "costing",
    "cost_table": "costs",
    "draw": "drawing",
    "excite": "pipeline",
    "fetch": "fetching",
    "find_gates": "gates",
    "fold": "fold_search",
    "fold_gates": "folding",
    "imagenet": "labels",
    "intervene": "gates",
    "load_folded": "folding",
    "load_model": "models",
    "merge": "recording",
    "open_ablation": "ablation",
    "open_images": "images",
    "open_recording": "recording",
    "open_scale_run": "scale_run",
    "record": "recording",
    "scale": "scaling",
    "select": "images",
    "verify": "recording",
    "write_analysis": "pipeline",
}

__all__ = [
    "Ablation",
    "CostReport",
    "FoldRun",
    "GateRecorder",
    "GateSite",
    "LabelSpace",
    "LoadedModel",
    "Recording",
    "ScaleRun",
    "SeProbeError",
    "ablate",
    "compare",
    "cost",
    "cost_table",
    "draw",
    "excite",
    "fetch",
    "find_gates",
    "fold",
    "fold_gates",
    "imagenet",
    "intervene",
    "load_folded",
    "load_model",
    "merge",
    "open_ablation",
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
    if name in _PARTS:
        return import_module(f"se_probe.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'se_probe' has no attribute {name!r}")
    return getattr(import_module(f"se_probe.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, *_PARTS]
