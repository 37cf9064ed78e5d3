"""What the checks share: the device, the clock, the images, and the outcomes they report."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

Verdict = Literal["pass", "FAIL", "stated", "skipped"]


@dataclass(frozen=True)
class Outcome:
    """One row of the final table.

    Attributes:
        check: what was checked or measured.
        verdict: "pass" or "FAIL" against a bound, "stated" where there is none, or "skipped".
        detail: the measured values in words, or the reason.
        facts: the same as JSON-able values.
    """

    check: str
    verdict: Verdict
    detail: str
    facts: dict[str, Any] = field(default_factory=dict)


def held(check: str, value: float, bound: float, detail: str = "", **facts: Any) -> Outcome:
    """Return the outcome of a value that must not exceed a bound."""
    verdict: Verdict = "pass" if value <= bound else "FAIL"
    text = f"{value:.1e}, at most {bound:.0e} allowed{f'; {detail}' if detail else ''}"
    return Outcome(check, verdict, text, {"value": value, "bound": bound, **facts})


@dataclass
class Bench:
    """One run of the script.

    Attributes:
        device: where networks run.
        quick: whether to measure little, as on a CPU.
        photographs: encoded JPEGs.
        drawn: whether these are drawn instead of photographs.
        folder: a temporary folder.
        deadline: `time.monotonic` value after which no optional measurement starts.
        rates: measured matrix rate by precision, in FLOP/s.
        images_per_second: measured rate of networks by (network, way, precision).
    """

    device: torch.device
    quick: bool
    photographs: tuple[bytes, ...]
    drawn: bool
    folder: Path
    deadline: float
    rates: dict[str, float] = field(default_factory=dict)
    images_per_second: dict[tuple[str, str, str], float] = field(default_factory=dict)

    @property
    def cuda(self) -> bool:
        """Whether the device is a CUDA device."""
        return self.device.type == "cuda"

    @property
    def cores(self) -> int:
        """Number of processor cores that this process may use."""
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def left(self) -> float:
        """Return the seconds left for optional measurements."""
        return self.deadline - time.monotonic()

    def wait(self) -> None:
        """Wait until the device has finished its work."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def seconds(self, call: Any, repeats: int) -> float:
        """Return the mean duration of `repeats` calls, with the device's work included."""
        self.wait()
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        self.wait()
        return (time.perf_counter() - start) / repeats


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid TensorFloat-32 in float32 convolutions and matrix products; PyTorch allows it in convolutions."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def photographs(folder: Path | None, count: int) -> tuple[tuple[bytes, ...], bool]:
    """Return up to `count` encoded RGB JPEGs and whether they had to be drawn for want of photographs."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")) if folder else []
    found = [data for path in files[: 2 * count] if _is_rgb_jpeg(data := path.read_bytes())]
    return (tuple(found[:count]), False) if found else (tuple(_drawn(seed) for seed in range(count)), True)


def _is_rgb_jpeg(data: bytes) -> bool:
    if not data.endswith(b"\xff\xd9"):
        return False
    with Image.open(io.BytesIO(data)) as image:
        return image.format == "JPEG" and image.mode == "RGB"


def _drawn(seed: int) -> bytes:
    """Return a JPEG of 500×375 pixels with structure at all scales and about the size of a photograph."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((375, 500, 3))
    for side in (4, 16, 64, 200):
        noise = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
        pixels += np.asarray(noise.resize((500, 375), Image.Resampling.BICUBIC)) / 4.0
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def write_json(path: Path, machine: dict[str, Any], outcomes: Sequence[Outcome]) -> None:
    """Write what is known so far, so that a run that is cut short leaves its outcomes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"machine": machine, "outcomes": [asdict(outcome) for outcome in outcomes]}
    path.write_text(json.dumps(facts, indent=1, default=str) + "\n")


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a Markdown table."""
    rows = [f"| {outcome.check} | {outcome.verdict} | {outcome.detail} |" for outcome in outcomes]
    return "\n".join(["| check | verdict | measured |", "|---|---|---|", *rows])
