"""The loop of a recording: no hidden synchronisation, pinned copies, memory that runs out, memory that stays flat."""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.agreement import TOLERANCE
from benchmarks.gpu.bench import Bench, Outcome, held, tf32
from benchmarks.gpu.subject import AfterSetUp, model_named, recorded, recorded_gates
from se_probe.recording import Execution

EXECUTIONS = {
    "--exact": Execution(exact=True),
    "default": Execution(),
    "--dtype bfloat16": Execution(dtype="bfloat16"),
    "--no-predictions": Execution(predictions=False),
}
_NEEDS = "needs a CUDA device"


def synchronisation(bench: Bench) -> Iterator[Outcome]:
    """Record with every synchronising call of PyTorch turned into an error, once the first batch is done."""
    check = "no hidden synchronisation in the loop"
    if not bench.cuda:
        yield Outcome(check, "skipped", _NEEDS)
        return
    try:
        torch.cuda.set_sync_debug_mode("error")
        torch.ones(1, device=bench.device).item()
        yield Outcome("a planted .item() is caught", "FAIL", "it went through")
    except RuntimeError:
        yield Outcome("a planted .item() is caught", "pass", "so the check can fail")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for name, execution in EXECUTIONS.items():
        begin = AfterSetUp(lambda: torch.cuda.set_sync_debug_mode("error"))
        try:
            recorded(bench, model_named("demo:se"), 640, execution=execution, batch_size=32, workers=2, progress=begin)
            yield Outcome(f"{check}: {name}", "pass", "20 batches, two loader processes")
        except RuntimeError as error:
            yield Outcome(f"{check}: {name}", "FAIL", str(error).splitlines()[0], {"where": _places(error)})
        finally:
            torch.cuda.set_sync_debug_mode("default")


def _places(error: BaseException) -> list[str]:
    places, trace = [], error.__traceback__
    while trace is not None:
        places.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    return places


def copies(bench: Bench) -> Iterator[Outcome]:
    """Look at the copies of a recording in a profiler trace."""
    check = "copies are pinned and do not block"
    if not bench.cuda:
        yield Outcome(check, "skipped", _NEEDS)
        return
    profiler = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])
    begin = AfterSetUp(profiler.start)
    recorded(bench, model_named("demo:se"), 640, execution=Execution(), batch_size=64, workers=2, progress=begin)
    profiler.stop()
    trace = bench.folder / "trace.json"
    profiler.export_chrome_trace(str(trace))
    yield _judged(check, json.loads(trace.read_text())["traceEvents"])


def _judged(check: str, events: list[dict[str, Any]]) -> Outcome:
    size: Counter[str] = Counter()
    number: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "gpu_memcpy" and "DtoD" not in event["name"]:
            size[event["name"]] += event["args"].get("bytes", 0)
            number[event["name"]] += 1
    waits = Counter(
        event["name"]
        for event in events
        if event.get("cat") == "cuda_runtime" and event["name"] in ("cudaStreamSynchronize", "cudaMemcpy")
    )
    spent = {
        kind: sum(event.get("dur", 0) for event in events if event.get("cat") == kind)
        for kind in ("gpu_memcpy", "kernel")
    }
    pageable = sum(count for name, count in size.items() if "Pageable" in name)
    ways = all(any(way in name and "Pinned" in name for name in size) for way in ("HtoD", "DtoH"))
    good = ways and not waits and pageable <= 1e-3 * sum(size.values())
    text = "; ".join(f"{name}: {number[name]} of {size[name] / 1e6:.3g} MB" for name in size)
    text += (
        f"; blocking calls: {dict(waits) or 'none'}; copies take {spent['gpu_memcpy'] / max(1, spent['kernel']):.0%}"
    )
    facts = {"bytes": dict(size), "number": dict(number), "blocking": dict(waits), "microseconds": spent}
    return Outcome(check, "pass" if good else "FAIL", text, facts)


def out_of_memory(bench: Bench) -> Iterator[Outcome]:
    """Leave the process too little device memory for a batch, and compare the recording with one that had enough."""
    check = "out of memory: the batch is halved"
    if not bench.cuda:
        yield Outcome(check, "skipped", _NEEDS)
        return
    model = model_named("legacy_seresnet50")
    lines: list[str] = []
    options: dict[str, Any] = {"execution": Execution(exact=True), "batch_size": 128}
    model.network.to(bench.device)
    _free()
    base = torch.cuda.memory_allocated(bench.device)
    torch.cuda.reset_peak_memory_stats(bench.device)
    with tf32(False):
        expected = recorded_gates(recorded(bench, model, 256, **options))
        peak = torch.cuda.max_memory_allocated(bench.device)
        _free()
        limit = base + 0.4 * (peak - base)
        total = torch.cuda.get_device_properties(bench.device).total_memory
        torch.cuda.set_per_process_memory_fraction(limit / total, bench.device)
        try:
            found = recorded_gates(recorded(bench, model, 256, say=lines.append, **options))
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, bench.device)
            _free()
    halved = [line for line in lines if line.startswith("memory")]
    detail = f"{peak / 1e9:.2f} GB needed, {limit / 1e9:.2f} given: {'; '.join(halved) or 'no batch was halved'}"
    outcome = held(check, float(np.abs(found - expected).max()), TOLERANCE, detail)
    yield outcome if halved else Outcome(check, "FAIL", detail)


def _free() -> None:
    gc.collect()
    torch.cuda.empty_cache()


def flat_memory(bench: Bench) -> Iterator[Outcome]:
    """Record 220 batches and compare the memory held in the last fifty with that of fifty early ones."""
    seen: list[tuple[int, int]] = []
    size = 16 if bench.cuda else 4

    def look(images: int) -> None:
        device = torch.cuda.memory_allocated(bench.device) if bench.cuda else 0
        seen.append((device, _resident()))

    recorded(bench, model_named("demo:se"), 220 * size, execution=Execution(), batch_size=size, progress=look)
    early, late = (np.max(part, axis=0) for part in (seen[20:70], seen[-50:]))
    grown = [int(value) for value in late - early]
    detail = f"{len(seen)} batches of {size}: device {grown[0] / 1e6:+.2f} MB, host {grown[1] / 1e6:+.1f} MB"
    good = grown[0] <= 1 << 20 and grown[1] <= 32 << 20
    yield Outcome("memory flat over 200 batches", "pass" if good else "FAIL", detail, {"grown": grown})


def _resident() -> int:
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4096 if statm.exists() else 0
