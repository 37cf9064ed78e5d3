"""Write a folded network as ONNX, and check and time it in onnxruntime."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from se_probe.costs.timing import paired_timing
from se_probe.errors import SeProbeError, one_line
from se_probe.folding.surgery import deviation
from se_probe.trace.watching import tensors_in

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
ONNX = "model.onnx"
# Kernels of another library add in another order.
TOLERANCE = 1e-4


class ExportError(Exception):
    """A network cannot be exported; the message is one line."""


def require_onnx() -> None:
    """Raise SeProbeError if a package for the export is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise SeProbeError(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed, without which nothing is "
            'exported to ONNX; run: pip install "se-probe[onnx]".'
        )


def export_onnx(before: nn.Module, after: nn.Module, batch: torch.Tensor, path: Path) -> dict[str, Any]:
    """Write a folded network as ONNX, and compare and time it in onnxruntime on the CPU.

    The number of images stays free. The network before folding is exported too, for the comparison, and not kept. Raise
    ExportError if torch cannot export the network, or the file's output deviates.

    Args:
        before: the network before it was folded, in evaluation mode.
        after: the folded network.
        batch: `(image, 3, H, W)`, on which outputs are compared and times measured; two images or more.
        path: the file to write.

    Returns:
        JSON-able facts: sizes in bytes before and after, `deviation` of the file's output from the folded network's
        (largest difference over the largest value), `timing` of both files in onnxruntime, and its version.
    """
    images = batch.detach().cpu()
    with TemporaryDirectory() as folder:
        earlier = Path(folder) / "before.onnx"
        _write(before, images, earlier)
        _write(after, images, path)
        first, second = OnnxNetwork(earlier), OnnxNetwork(path)
        with torch.inference_mode():
            reference = _on_cpu(after)(images)
            found = float(deviation(second(images), tensors_in(reference)))
        if not found <= TOLERANCE:
            path.unlink()
            raise ExportError(f"its output deviates by {found:.1e} from the network's, {TOLERANCE:.0e} is allowed")
        return {
            "format": "onnx",
            "file": path.name,
            "bytes_before": earlier.stat().st_size,
            "bytes_after": path.stat().st_size,
            "deviation": found,
            "tolerance": TOLERANCE,
            "timing": asdict(paired_timing(first, second, images)),
            "onnxruntime": second.version,
        }


def export_sentence(facts: Mapping[str, Any]) -> str:
    """Return a sentence on an exported network, or on why there is none."""
    if "refusal" in facts:
        return f"not exported to ONNX: {facts['refusal']}"
    timing, before, after = facts["timing"], facts["bytes_before"] / 1e6, facts["bytes_after"] / 1e6
    return (
        f"as ONNX {before:.2f} MB before and {after:.2f} MB after; in onnxruntime {facts['onnxruntime']} "
        f"{timing['before']:.2f} ms before and {timing['after']:.2f} ms after, ratio {timing['ratio']:.3f} "
        f"[{timing['low']:.3f}, {timing['high']:.3f}] (batch of {timing['batch']} on the CPU, {timing['threads']} "
        f"threads, median of {timing['pairs']} pairs); within {facts['deviation']:.0e} of the folded network"
    )


class OnnxNetwork(nn.Module):
    """A file in onnxruntime, as a module on the CPU that returns the list of its outputs.

    Attributes:
        version: of onnxruntime.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self.version = str(onnxruntime.__version__)
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the outputs for some images."""
        return [torch.from_numpy(item) for item in self._session.run(None, {self._input: images.numpy()})]


def _write(network: nn.Module, images: torch.Tensor, path: Path) -> None:
    shapes = ({0: torch.export.Dim("image")},)
    try:
        with _quiet():
            program = torch.onnx.export(
                _on_cpu(network), (images,), dynamo=True, dynamic_shapes=shapes, input_names=["input"], verbose=False
            )
            if program is None:
                raise ExportError("torch returned no program")
            program.save(str(path), external_data=False)
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(f"torch cannot export it ({one_line(error)})") from error


def _on_cpu(network: nn.Module) -> nn.Module:
    parameter = next(network.parameters(), torch.empty(0))
    return network if parameter.device.type == "cpu" else copy.deepcopy(network).cpu()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings and notes of the exporters off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
