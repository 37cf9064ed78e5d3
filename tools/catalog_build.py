"""Write the table of the catalog that ships with the package: `python -m tools.catalog_build`.

Run it after an upgrade of timm or torchvision, or after a change to how gates are found. It examines some 1,200
architectures at about half a second each; with names (shell patterns) as arguments it renews only those.
"""

from __future__ import annotations

import json
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch.overrides import TorchFunctionMode
from torchvision.models import get_model, get_model_weights

from se_probe.errors import one_line
from se_probe.gates import discover
from se_probe.models.catalog import Examined, matches, pretrained_networks, shipped_table
from se_probe.models.torchvision_source import size_argument

SECONDS_EACH = 120


def build_table(patterns: Sequence[str]) -> dict[str, Examined]:
    """Return the table with the networks that match a pattern examined again, without those that are gone.

    An architecture that takes longer than two minutes is entered as not examined.
    """
    shipped, known = shipped_table(), pretrained_networks()
    table = {spec: shipped[spec] for spec in known if spec in shipped}
    wanted = [spec for spec, tags in known.items() if any(matches(pattern, spec, tags) for pattern in patterns)]
    for done, spec in enumerate(wanted, start=1):
        with _time_limit():
            table[spec] = examine(spec)
        print(f"{done}/{len(wanted)} {spec}: {table[spec]}", file=sys.stderr, flush=True)
    return table


def write_table(path: Path, table: Mapping[str, Examined]) -> None:
    """Write a table with the versions it was made with."""
    lines = [f"  {json.dumps(spec)}: {json.dumps(table[spec])}" for spec in sorted(table)]
    text = f'{{"versions": {json.dumps(_versions())}, "networks": {{\n' + ",\n".join(lines) + "\n}}\n"
    path.write_text(text, encoding="utf-8")


def examine(spec: str) -> Examined:
    """Return the gates of a timm or torchvision architecture by family, or why it could not be examined."""
    library, _, name = spec.rpartition(":")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            network, input_size = _torchvision_on_meta(name) if library else _timm_on_meta(name)
            sites = discover(network.eval(), input_size).sites
        except Exception as error:  # one architecture of a thousand must not end the build
            return one_line(error)
    return dict(Counter(site.family for site in sites))


def _timm_on_meta(name: str) -> tuple[torch.nn.Module, tuple[int, ...]]:
    with torch.device("meta"):
        network: torch.nn.Module = timm.create_model(name)
    return network, tuple(timm.data.resolve_model_data_config(network)["input_size"])


def _torchvision_on_meta(name: str) -> tuple[torch.nn.Module, tuple[int, ...]]:
    crop = get_model_weights(name).DEFAULT.transforms().crop_size[0]
    with _ParametersOnMeta():
        network: torch.nn.Module = get_model(name, weights=None, **size_argument(name))
    return network.to("meta"), (3, crop, crop)


class _ParametersOnMeta(TorchFunctionMode):
    """Puts what `torch.empty` makes, the parameters, on the meta device and leaves other tensors alone.

    torchvision's RegNets read their widths from tensors while they are built, which the meta device forbids.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call `func`, with the meta device for `torch.empty`."""
        options = dict(kwargs or {})
        if func is torch.empty:
            options["device"] = "meta"
        return func(*args, **options)


def _versions() -> dict[str, str]:
    return {
        "se-probe": version("se-probe"),
        "timm": timm.__version__,
        "torchvision": torchvision.__version__.partition("+")[0],
    }


@contextmanager
def _time_limit() -> Iterator[None]:
    """Raise TimeoutError inside a block that takes too long, which `examine` reports."""

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
