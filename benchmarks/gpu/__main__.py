"""Check and measure se-probe on a CUDA device; on a CPU what makes sense there.

    python -m benchmarks.gpu [--out gpu.json] [--photographs FOLDER] [--minutes 8] [--device cuda|cpu]

Nothing is downloaded: networks come with the package or have random weights. Each outcome is printed as it comes, all
of them in one table at the end, and FILE holds them as JSON, also if the run is cut short. The exit code is 1 where a
check failed.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import timm
import torch
import torchvision

from benchmarks.gpu import agreement, decoding, loop, ranks, throughput
from benchmarks.gpu.bench import Bench, Outcome, photographs, table, write_json

ROOT = Path(__file__).resolve().parents[2]
PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "imagenet-sample-120"
Section = Callable[[Bench], Iterator[Outcome]]


def cuda_tests(bench: Bench) -> Iterator[Outcome]:
    """Run the tests that are marked `cuda`."""
    check = "tests marked cuda"
    if not bench.cuda:
        yield Outcome(check, "skipped", "need a CUDA device")
        return
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider", "tests/cuda"]
    done = subprocess.run(
        [*command, "-o", "filterwarnings=default", "-W", "ignore"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        timeout=max(60.0, bench.left() + 60),
    )
    last = next((line for line in reversed(done.stdout.splitlines()) if line.strip()), done.stderr[-200:])
    facts = {"output": done.stdout[-6000:], "errors": done.stderr[-2000:]}
    yield Outcome(check, "FAIL" if done.returncode else "pass", last.strip("= "), facts)


SECTIONS: tuple[Section, ...] = (
    agreement.matrix_rates,
    agreement.agreement,
    loop.synchronisation,
    loop.copies,
    loop.out_of_memory,
    loop.flat_memory,
    decoding.pixels,
    decoding.on_a_core,
    throughput.eager,
    throughput.compiled,
    decoding.loader,
    decoding.whole_runs,
    ranks.nccl,
    ranks.shared_recording,
    cuda_tests,
)


def main() -> int:
    """Run all sections; return the exit code."""
    options = _options()
    warnings.simplefilter("ignore")
    logging.getLogger("torch").setLevel(logging.ERROR)
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())
    machine = machine_facts(device)
    print(", ".join(f"{key} {value}" for key, value in machine.items()), flush=True)
    outcomes: list[Outcome] = []
    with TemporaryDirectory() as folder:
        images, drawn = photographs(options.photographs, 32 if device.type == "cpu" else 120)
        deadline = time.monotonic() + 60 * options.minutes
        bench = Bench(device, device.type == "cpu", images, drawn, Path(folder), deadline)
        for section in SECTIONS:
            if options.only and section.__name__ not in options.only.split(","):
                continue
            start = time.monotonic()
            for outcome in _outcomes(section, bench):
                print(f"{outcome.verdict:8}{outcome.check}: {outcome.detail}", flush=True)
                outcomes.append(outcome)
            print(f"        ({section.__name__} took {time.monotonic() - start:.0f} s)", flush=True)
            write_json(options.out, machine, outcomes)
    print(f"\n{', '.join(f'{key} {value}' for key, value in machine.items())}\n\n{table(outcomes)}")
    return int(any(outcome.verdict == "FAIL" for outcome in outcomes))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="where outcomes are written as JSON")
    parser.add_argument("--photographs", type=Path, default=PHOTOGRAPHS, help="folder of JPEGs; else they are drawn")
    parser.add_argument("--minutes", type=float, default=8.0, help="after this no optional measurement starts")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="by default CUDA where there is any")
    parser.add_argument("--only", help=f"some sections: {', '.join(section.__name__ for section in SECTIONS)}")
    return parser.parse_args()


def _outcomes(section: Section, bench: Bench) -> Iterator[Outcome]:
    """Run a section; an error is an outcome, and the next section goes on."""
    try:
        yield from section(bench)
    except Exception as error:
        line = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
        yield Outcome(section.__name__, "FAIL", line, {"traceback": traceback.format_exc()})
        print(traceback.format_exc(), flush=True)


def machine_facts(device: torch.device) -> dict[str, Any]:
    """Return the card, the processor and the versions."""
    facts: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
        "Python": platform.python_version(),
    }
    if device.type == "cuda":
        facts |= {"devices": torch.cuda.device_count(), "CUDA": torch.version.cuda}
        facts["cuDNN"] = torch.backends.cudnn.version()
    return facts


if __name__ == "__main__":
    sys.exit(main())
