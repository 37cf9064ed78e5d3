"""How fast images arrive: decoding and transforming on a core, in loader processes, and by nvJPEG."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.gpu.bench import Bench, Outcome
from benchmarks.gpu.subject import decoded, gates_of, model_named, recorded, selection_of
from se_probe.errors import SeProbeError
from se_probe.images import DeviceDecoder, batches
from se_probe.images.imageset import open_bytes
from se_probe.recording import Execution

NETWORK = "legacy_seresnet50"


def pixels(bench: Bench) -> Iterator[Outcome]:
    """Compare the pixels of nvJPEG, or of torchvision on the CPU, with those of Pillow."""
    from torchvision.io import ImageReadMode, decode_jpeg

    encoded = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in bench.photographs[:32]]
    name = "nvJPEG" if bench.cuda else "torchvision on the CPU"
    try:
        found = decode_jpeg(encoded, mode=ImageReadMode.RGB, device=bench.device)
    except RuntimeError as error:
        yield Outcome(f"pixels of {name} against Pillow", "skipped", str(error).splitlines()[0])
        return
    gaps = [
        np.abs(image.permute(1, 2, 0).cpu().numpy().astype(int) - np.asarray(decoded(data), dtype=int))
        for image, data in zip(found, bench.photographs, strict=False)
    ]
    mean, largest = float(np.mean([gap.mean() for gap in gaps])), int(max(gap.max() for gap in gaps))
    detail = f"{len(gaps)} images: mean difference {mean:.2f} of 255 (at most 3 allowed), largest {largest}"
    facts = {"mean": mean, "largest": largest}
    yield Outcome(f"pixels of {name} against Pillow", "pass" if mean <= 3 else "FAIL", detail, facts)


def on_a_core(bench: Bench) -> Iterator[Outcome]:
    """Measure decoding and transforming in one thread, and on the device."""
    model = model_named(NETWORK)
    blobs = bench.photographs[: 32 if bench.quick else 120]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ways: dict[str, Callable[[], list[Any]]] = {
        "Pillow, decoding alone": lambda: [decoded(data) for data in blobs],
        "Pillow, decoding and transform": lambda: [model.transform(decoded(data)) for data in blobs],
        "Pillow with draft, and transform": lambda: [model.transform(_drafted(data)) for data in blobs],
    }
    for place in ("cpu", *(["cuda"] if bench.cuda else [])):
        try:
            decoder = DeviceDecoder(model.transform, place)
        except SeProbeError as error:
            yield Outcome(f"decoding by torchvision on {place}", "skipped", str(error))
            continue
        ways[f"torchvision on {place}, decoding and transform"] = partial(decoder, blobs)
    rates = {}
    for name, run in ways.items():
        run()
        rates[name] = len(blobs) / bench.seconds(run, 1 if bench.quick else 3)
    torch.set_num_threads(threads)
    what = "drawn JPEGs" if bench.drawn else "photographs"
    text = "; ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
    yield Outcome(f"images/s in one thread, {len(blobs)} {what}", "stated", text, rates)
    yield _draft_deviation(bench)


def _drafted(data: bytes) -> Image.Image:
    """Decode at the smallest of JPEG's scales that leaves the shorter side at 256 pixels or more."""
    image = open_bytes(data)
    image.draft("RGB", (256, 256))
    return image.convert("RGB")


def _draft_deviation(bench: Bench) -> Outcome:
    model = model_named(NETWORK)
    shrunk = [data for data in bench.photographs if _drafted(data).size != open_bytes(data).size][:16]
    check = "gates under JPEG's draft mode"
    if not shrunk:
        return Outcome(check, "skipped", f"none of {len(bench.photographs)} images is large enough to be shrunk by it")
    images = [torch.stack([model.transform(way(data)) for data in shrunk]) for way in (decoded, _drafted)]
    whole, drafted = (gates_of(model.network.to(bench.device), batch.to(bench.device)) for batch in images)
    return Outcome(check, "stated", f"{len(shrunk)} images: largest change {float((whole - drafted).abs().max()):.1e}")


def loader(bench: Bench) -> Iterator[Outcome]:
    """Measure loader processes, say how many a device needs, and time whole recordings fed by them."""
    model, rates = model_named(NETWORK), {}
    for workers in sorted({1, max(1, bench.cores // 2), bench.cores}):
        count = 160 * workers if bench.quick else 400 * workers
        selection, clock = selection_of(model, bench.photographs, count), []
        for _ in batches(selection, model.transform, batch_size=16, workers=workers):
            clock.append(time.perf_counter())
        skipped = min(3 * workers, len(clock) - 2)  # the first batches of a process are made while it starts
        rates[workers] = 16 * (len(clock) - 1 - skipped) / (clock[-1] - clock[skipped])
    text = ", ".join(f"{rate:.0f} with {workers}" for workers, rate in rates.items())
    yield Outcome("loader, images/s by processes", "stated", text, {str(key): value for key, value in rates.items()})
    most = max(rates)
    each = rates[most] / most
    needs = {
        f"{network}, {way}, {precision}": math.ceil(rate / each)
        for (network, way, precision), rate in bench.images_per_second.items()
        if way.startswith("se-probe") and "predictions" not in way
    }
    text = "; ".join(f"{name}: {count}" for name, count in needs.items()) or "no network was measured"
    yield Outcome(f"loader processes that a device needs, at {each:.0f} images/s each", "stated", text, needs)


def whole_runs(bench: Bench) -> Iterator[Outcome]:
    """Time recordings from encoded images to gates on disk."""
    count = 48 if bench.quick else 4000
    runs = {
        "float32 as PyTorch sets it": Execution(),
        "bfloat16": Execution(dtype="bfloat16"),
        "bfloat16, --device-decode": Execution(dtype="bfloat16", device_decode=True),
    }
    facts = {}
    for name, execution in runs.items():
        clock: list[tuple[float, int]] = []
        look = partial(_note, clock)
        options: dict[str, Any] = {"batch_size": 8 if bench.quick else 64, "workers": bench.cores, "progress": look}
        recording = recorded(bench, model_named(NETWORK), count, execution=execution, **options)
        facts[name] = sum(images for _, images in clock[1:]) / (clock[-1][0] - clock[0][0])
        if execution.device_decode:
            decoded_by = recording.provenance["execution"].get("decoded_by")
    text = "; ".join(f"{name} {rate:.0f}" for name, rate in facts.items()) + f" (the last decoded by {decoded_by})"
    yield Outcome(f"whole recordings of {NETWORK}, images/s, {bench.cores} processes", "stated", text, facts)


def _note(clock: list[tuple[float, int]], images: int) -> None:
    if images:
        clock.append((time.perf_counter(), images))
