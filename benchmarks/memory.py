"""What a recording costs in memory and time as the number of images grows.

    python -m benchmarks.memory [--images 500,5000,50000]

Small drawn images of ImageNet's 1000 classes go through a small network, each run in a process of its own, whose
largest resident memory the operating system states. Half of the first ten classes' images keep their gates.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from se_probe.gates import find_gates
from se_probe.images import select
from se_probe.images.imageset import ImageSet, Sample
from se_probe.labels import imagenet
from se_probe.models import load_model
from se_probe.recording import Execution, provenance_of, record

SIDE = 32


@dataclass(frozen=True)
class Drawn:
    """Images of coloured noise, made anew from their number whenever they are opened."""

    def fingerprint(self, path: str) -> None:
        """Return None: these images are the same in every run."""

    def open(self, path: str) -> Image.Image:
        """Return the image."""
        rng = np.random.default_rng(int(path))
        return Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))


def transform(image: Image.Image) -> torch.Tensor:
    """Return an image as a tensor with values between -1 and 1."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1


def main() -> None:
    """Run each size in its own process and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="500,5000,50000")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(measured(options.one))
        return
    print("| images | peak resident memory, MB | processor time, s | ms per image |")
    print("|---|---|---|---|")
    for count in options.images.split(","):
        command = [sys.executable, "-m", "benchmarks.memory", "--one", count]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(), flush=True)


def measured(count: int) -> str:
    """Record `count` images and return a row of the table."""
    model = replace(load_model("test_efficientnet", random_weights=True), transform=transform)
    space = imagenet()
    classes = space.classes[: min(1000, count)]
    samples = tuple(Sample(f"{index:06d}", classes[index * len(classes) // count]) for index in range(count))
    images = ImageSet("drawn", samples, space, "drawn on demand", 0, Drawn())
    selection = select(images, classes[:10], per_class=count, reference_per_class=count)
    provenance = provenance_of(model, selection, command="benchmark", settings={}, spatial_maps={}, demo=False)
    sites = find_gates(model.network, (3, SIDE, SIDE))
    start = time.process_time()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "recording.zarr"
        record(model, sites, selection, path, provenance=provenance, batch_size=64, execution=Execution(exact=True))
    taken = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"| {count} | {peak:.0f} | {taken:.1f} | {1e3 * taken / count:.2f} |"


if __name__ == "__main__":
    main()
