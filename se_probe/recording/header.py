"""The attributes of a recording's root, and the columns in which its signals lie side by side."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from se_probe.errors import SeProbeError
from se_probe.gates import GateSite
from se_probe.recording.digest import facts_digest

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class SignalColumns:
    """The columns of one signal of one site; `shape` is `(channel,)`, or `(branch, channel)` where branches compete."""

    signal: str
    site: str
    shape: tuple[int, ...]

    @property
    def width(self) -> int:
        """Number of columns."""
        return math.prod(self.shape)

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes of `shape`."""
        return ("channel",) if len(self.shape) == 1 else ("branch", "channel")

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {"signal": self.signal, "site": self.site, "shape": list(self.shape)}

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> SignalColumns:
        """Read `to_dict` back."""
        return cls(facts["signal"], facts["site"], tuple(facts["shape"]))


def join(signals: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return signals as `(image, column)`, on their device, without loss: float32 at least."""
    return torch.cat([_at_least_float32(values.flatten(1)) for values in signals], dim=1)


def _at_least_float32(values: torch.Tensor) -> torch.Tensor:
    return values if values.dtype == torch.float64 else values.float()


def split(columns: NDArray[Scalar], blocks: Sequence[SignalColumns]) -> dict[SignalColumns, NDArray[Scalar]]:
    """Return each block's part of `(row, column)`, as `(row, channel)` or `(row, branch, channel)`."""
    stops = np.cumsum([block.width for block in blocks])[:-1]
    parts = np.split(columns, stops, axis=1)
    return {block: part.reshape(len(columns), *block.shape) for block, part in zip(blocks, parts, strict=True)}


def width(blocks: Sequence[SignalColumns]) -> int:
    """Return the number of columns of all blocks."""
    return sum(block.width for block in blocks)


SCHEMA = 2
INCOMPLETE, COMPLETE = "incomplete", "complete"
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Header:
    """What is known of a recording before its first image; `selected` is the number of images that it is to cover."""

    sites: tuple[GateSite, ...]
    blocks: tuple[SignalColumns, ...]
    classes: tuple[dict[str, Any], ...]
    chosen: tuple[str, ...]
    selected: int
    provenance: dict[str, Any]

    def attributes(self, status: str, skipped: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
        """Return the attributes of the recording's root."""
        return {
            "schema": SCHEMA,
            "status": status,
            "sites": [site.to_dict() for site in self.sites],
            "signals": [block.to_dict() for block in self.blocks],
            "classes": list(self.classes),
            "chosen": list(self.chosen),
            "selected": self.selected,
            "provenance": self.provenance,
            "skipped": list(skipped),
        }


def header_of(attributes: dict[str, Any]) -> Header:
    """Return what the attributes of a recording's root say.

    Raises:
        SeProbeError: they lack something, or a name in them would lead out of the recording's folder.
    """
    try:
        header = Header(
            sites=tuple(GateSite(**facts) for facts in attributes["sites"]),
            blocks=tuple(SignalColumns.from_dict(facts) for facts in attributes["signals"]),
            classes=tuple(attributes["classes"]),
            chosen=tuple(attributes["chosen"]),
            selected=int(_selected(attributes)),
            provenance=dict(attributes["provenance"]),
        )
        names = [text for block in header.blocks for text in (block.site, block.signal)]
        unsafe = next((name for name in names if not _SAFE_NAME.fullmatch(name)), None)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SeProbeError(
            f"the attributes of the recording are damaged ({type(error).__name__}: {error}); record it again."
        ) from error
    if unsafe is not None:
        raise SeProbeError(f"the recording names a site {unsafe!r}, which is no site's name; it is not read.")
    return header


def _selected(attributes: dict[str, Any]) -> Any:
    """Return the number of selected images, which the first schema has in its provenance only."""
    return attributes["selected"] if "selected" in attributes else attributes["provenance"]["data"]["images_selected"]


def attributes_digest(attributes: dict[str, Any]) -> str:
    """Return the checksum of a recording's attributes, but for its status and the checksums themselves."""
    return facts_digest({key: value for key, value in attributes.items() if key not in ("status", "checksums")})
