"""Gates on the device against gates on the CPU in float32, and the arithmetic that the device reaches."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import nn

import se_probe
from benchmarks.gpu.bench import Bench, Outcome, held, tf32
from benchmarks.gpu.subject import DEMO, NETWORKS, decoded, gates_of, model_named, output_modules

TOLERANCE = 1e-5
PRECISIONS = {
    "float32": (torch.float32, False),
    "tf32": (torch.float32, True),
    "bfloat16": (torch.bfloat16, False),
    "float16": (torch.float16, False),
}


def matrix_rates(bench: Bench) -> Iterator[Outcome]:
    """Measure square matrix products of random numbers in each precision; later shares refer to these rates."""
    side, repeats = (8192, 10) if bench.cuda else (1024, 3)
    for name, (dtype, allowed) in PRECISIONS.items():
        if not bench.cuda and name in ("tf32", "float16"):
            continue
        factor = torch.randn(side, side, device=bench.device).to(dtype)
        with tf32(allowed):
            bench.seconds(lambda factor=factor: factor @ factor, 3)
            bench.rates[name] = 2 * side**3 / bench.seconds(lambda factor=factor: factor @ factor, repeats)
    text = ", ".join(f"{rate / 1e12:.3g} in {name}" for name, rate in bench.rates.items())
    yield Outcome(f"matrix products {side}³, TFLOP/s", "stated", text, dict(bench.rates))


def agreement(bench: Bench) -> Iterator[Outcome]:
    """Compare gates on the device with those on the CPU, for networks of every family."""
    for name in (*DEMO, *NETWORKS):
        model = model_named(name)
        images = torch.stack([model.transform(decoded(data)) for data in bench.photographs[:8]])
        expected = gates_of(model.network, images)
        spread = float(expected.std(0).mean())
        there = deepcopy(model.network).to(bench.device)
        placed = images.to(bench.device)
        with tf32(False):
            far = _gap(gates_of(there, placed), expected)
            yield held(f"{name}: gates, device against CPU, float32", far, TOLERANCE, f"gates vary by {spread:.1e}")
            yield _bit_for_bit(name, there, placed)
            last = deepcopy(there).to(memory_format=torch.channels_last)
            far = _gap(gates_of(last, placed.contiguous(memory_format=torch.channels_last)), expected)
            yield held(f"{name}: the same, channels last", far, TOLERANCE)
        yield _deviations(bench, name, model.network, images, expected)


def _deviations(bench: Bench, name: str, network: nn.Module, images: torch.Tensor, expected: torch.Tensor) -> Outcome:
    facts = {}
    for precision in ("tf32", "bfloat16", "float16") if bench.cuda else ("bfloat16",):
        dtype, allowed = PRECISIONS[precision]
        with tf32(allowed):
            found = gates_of(deepcopy(network).to(bench.device, dtype), images.to(bench.device, dtype))
        gaps = found - expected
        facts[precision] = {"largest": float(gaps.abs().max()), "rms": float(gaps.square().mean().sqrt())}
    text = "; ".join(f"{precision} {gap['largest']:.1e} (rms {gap['rms']:.1e})" for precision, gap in facts.items())
    return Outcome(f"{name}: largest deviation of a gate from the CPU's float32", "stated", text, facts)


def _bit_for_bit(name: str, network: nn.Module, images: torch.Tensor) -> Outcome:
    """Compare the recorder with hooks of our own on the same device, where a site is the output of a module."""
    sites = se_probe.find_gates(network, tuple(images.shape[1:]))
    modules = output_modules(sites)
    seen: dict[str, torch.Tensor] = {}
    handles = [
        network.get_submodule(path).register_forward_hook(
            lambda _module, _args, output, name=name: seen.__setitem__(name, output.clone())
        )
        for name, path in modules.items()
    ]
    with torch.inference_mode(), se_probe.GateRecorder(network, sites) as recorder:
        network(images)
        equal = [torch.equal(recorder.gates[name].flatten(), output.flatten()) for name, output in seen.items()]
    for handle in handles:
        handle.remove()
    detail = f"{sum(equal)} of {len(equal)} sites equal, {len(sites) - len(equal)} are read at multiplications"
    return Outcome(f"{name}: recorder against a hook, bit for bit", "pass" if all(equal) else "FAIL", detail)


def _gap(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max())
