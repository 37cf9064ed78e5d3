"""Counting the gates of an architecture without its weights: built on the meta device, it takes no memory."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import timm
import torch
from torch.overrides import TorchFunctionMode
from torchvision.models import get_model, get_model_weights

from se_probe.gates import discover
from se_probe.models.catalog_table import Findings
from se_probe.models.messages import one_line
from se_probe.models.torchvision_source import size_argument


def examine(spec: str) -> Findings:
    """Return the gates of a timm or torchvision architecture by family, or why it could not be examined."""
    library, _, name = spec.rpartition(":")
    # What an architecture warns of while it is built is no concern of one who lists names.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            network, input_size = _torchvision(name) if library else _timm(name)
            sites = discover(network.eval(), input_size).sites
        except Exception as error:  # one architecture of a thousand must not end the listing
            return one_line(error)
    return dict(Counter(site.family for site in sites))


def _timm(name: str) -> tuple[torch.nn.Module, tuple[int, ...]]:
    with torch.device("meta"):
        network: torch.nn.Module = timm.create_model(name)
    return network, tuple(timm.data.resolve_model_data_config(network)["input_size"])


def _torchvision(name: str) -> tuple[torch.nn.Module, tuple[int, ...]]:
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
