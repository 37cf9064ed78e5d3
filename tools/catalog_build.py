"""Writes the table of the catalog that ships with the package: `python -m tools.catalog_build`.

Run it after an upgrade of timm or torchvision, or after a change to how gates are found. It examines some 1,200
architectures at about half a second each; with names (shell patterns) as arguments it renews only those.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import as_file, files

import torch

from se_probe.models.catalog import matches, pretrained_networks
from se_probe.models.catalog_table import Findings, read_shipped, write_table
from se_probe.models.examination import examine

SECONDS_EACH = 120


def build_table(patterns: Sequence[str]) -> dict[str, Findings]:
    """Return the table with the networks that match any pattern examined anew, and gone ones left out.

    An architecture that takes longer than two minutes is entered as not examined.
    """
    shipped, known = read_shipped(), pretrained_networks()
    table = {spec: shipped[spec] for spec in known if spec in shipped}
    wanted = [spec for spec, tags in known.items() if any(matches(pattern, spec, tags) for pattern in patterns)]
    for done, spec in enumerate(wanted, start=1):
        with _time_limit():
            table[spec] = examine(spec)
        print(f"{done}/{len(wanted)} {spec}: {table[spec]}", file=sys.stderr, flush=True)
    return table


@contextmanager
def _time_limit() -> Iterator[None]:
    """Raise TimeoutError inside the block when it takes too long; `examine` reports it as its finding."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"more than {SECONDS_EACH} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS_EACH)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with as_file(files("se_probe.models")) as folder:
        write_table(folder / "catalog.json", build_table(sys.argv[1:] or ["*"]))
