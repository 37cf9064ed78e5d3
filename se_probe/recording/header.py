"""The attributes of a recording's root, how it was made, and the order of its signals as columns of one matrix."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from types import NoneType
from typing import Any, TypeVar
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray

from se_probe.errors import SeProbeError, first_line
from se_probe.gates import GateSite
from se_probe.images import Selection
from se_probe.images.listing import readable
from se_probe.models import LoadedModel
from se_probe.recording.guard import SCHEMA

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


def join(signals: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return signals side by side as `(image, column)`, on their device, in float32 at least."""
    flat = [values.flatten(1) for values in signals]
    return torch.cat([values if values.dtype == torch.float64 else values.float() for values in flat], dim=1)


def split(columns: NDArray[Scalar], blocks: Sequence[SignalColumns]) -> dict[SignalColumns, NDArray[Scalar]]:
    """Return each block's part of `(row, column)`, as `(row, channel)` or `(row, branch, channel)`."""
    stops = np.cumsum([block.width for block in blocks])[:-1]
    parts = np.split(columns, stops, axis=1)
    return {block: part.reshape(len(columns), *block.shape) for block, part in zip(blocks, parts, strict=True)}


def width(blocks: Sequence[SignalColumns]) -> int:
    """Return the number of columns of all blocks."""
    return sum(block.width for block in blocks)


# The form of a recording's attributes; "?" marks what older recordings lack.
_OPTIONAL_TEXT, _NUMBER = (str, NoneType), (int, float)
_FORM: dict[str, Any] = {
    "run?": str,
    "sites": [
        {
            **dict.fromkeys(("name", "module", "family", "activation"), str),
            **dict.fromkeys(("stage", "block", "stride", "channels", "branches"), _NUMBER),
            "reduction": (*_NUMBER, NoneType),
            "kernels?": [int],
        }
    ],
    "signals": [{"signal": str, "site": str, "shape": [int]}],
    "classes": [{"name": str, "index": (int, NoneType), "wnid": _OPTIONAL_TEXT}],
    "chosen": [str],
    "selected?": int,
    "skipped": [{"path": str, "class": str, "reason": str}],
    "provenance": {
        "command?": str,
        "created?": str,
        "demo?": bool,
        "model": {"name": str, "weights": str, "source?": str, "weights_sha256?": _OPTIONAL_TEXT, "preprocessing?": {}},
        "data": {
            "title": str,
            "layout": str,
            "location?": _OPTIONAL_TEXT,
            **dict.fromkeys(("per_class", "reference_per_class"), int),
            **dict.fromkeys(("images_found?", "files_ignored?", "images_selected?", "seed?"), int),
        },
        **{key: {} for key in ("settings?", "spatial_maps?", "versions?", "machine?")},
        "resumed?": [{}],
    },
    "effects?": {
        "outcome": str,
        "reference_images": int,
        "reference": {},
        "agreement": [
            {
                "site": str,
                "image": [int],
                "branch": [int],
                "channel": [int],
                "first_order": [_NUMBER],
                "exact": [_NUMBER],
            }
        ],
    },
    "checksums?": {},
}
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_MOST_COLUMNS = 2**24
_LIBRARIES = ("se-probe", "torch", "torchvision", "timm", "numpy", "pillow", "xarray", "zarr")


@dataclass(frozen=True)
class Header:
    """What is known of a recording before its first image.

    Attributes:
        sites, signals, classes, chosen: what is recorded, of which classes.
        selected: number of selected images.
        provenance: how the recording is made.
        effects: how effects were recorded (see `se_probe.recording.effects`), empty where they were not.
        run: identifies the run in each of its shards; "" in the first schemas.
        schema: version of the recording's format.
    """

    sites: tuple[GateSite, ...]
    signals: tuple[SignalColumns, ...]
    classes: tuple[dict[str, Any], ...]
    chosen: tuple[str, ...]
    selected: int
    provenance: dict[str, Any]
    effects: dict[str, Any] = field(default_factory=dict)
    run: str = field(default_factory=lambda: uuid4().hex)
    schema: int = SCHEMA

    def attributes(self, status: str, skipped: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
        """Return the attributes of the recording's root."""
        return {
            "schema": self.schema,
            "status": status,
            "run": self.run,
            "sites": [site.to_dict() for site in self.sites],
            "signals": [{**vars(columns), "shape": list(columns.shape)} for columns in self.signals],
            "classes": list(self.classes),
            "chosen": list(self.chosen),
            "selected": self.selected,
            "provenance": self.provenance,
            **({"effects": self.effects} if self.effects else {}),
            "skipped": list(skipped),
        }


def header_of(attributes: dict[str, Any]) -> Header:
    """Read the header from the attributes of a recording's root."""
    try:
        _require_form(attributes, _FORM, "")
        header = Header(
            sites=tuple(GateSite(**facts) for facts in attributes["sites"]),
            signals=tuple(
                SignalColumns(item["signal"], item["site"], tuple(item["shape"])) for item in attributes["signals"]
            ),
            classes=tuple(attributes["classes"]),
            chosen=tuple(attributes["chosen"]),
            # The first schema has it in its provenance only.
            selected=attributes.get("selected", attributes["provenance"]["data"].get("images_selected")),
            provenance=attributes["provenance"],
            effects=attributes.get("effects", {}),
            run=attributes.get("run", ""),
            schema=attributes["schema"],
        )
        _require_consistent(header)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SeProbeError(
            f"the attributes of the recording are damaged ({first_line(error)}); copy it again, or record it again."
        ) from error
    return header


def _require_form(value: Any, form: Any, where: str) -> None:
    """Raise ValueError where facts differ from a form: a type or types, a form by key, or a list with one form."""
    if isinstance(form, dict):
        _require_type(value, dict, where)
        for key, inner in form.items():
            name = key.removesuffix("?")
            if name in value:
                _require_form(value[name], inner, f"{where}.{name}".lstrip("."))
            elif name == key:
                raise ValueError(f"{where}.{name} is missing".lstrip("."))
    elif isinstance(form, list):
        _require_type(value, list, where)
        for index, item in enumerate(value):
            _require_form(item, form[0], f"{where}[{index}]")
    else:
        _require_type(value, form, where)


def _require_type(value: Any, types: type | tuple[type, ...], where: str) -> None:
    kinds = types if isinstance(types, tuple) else (types,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join("null" if kind is NoneType else kind.__name__ for kind in kinds)
        raise ValueError(f"{where or 'the whole'} is {repr(value)[:60]}; expected {expected}")


def _require_consistent(header: Header) -> None:
    """Raise ValueError for malformed and repeated names, and for names that are not described."""
    sites = [site.name for site in header.sites]
    for name in [*sites, *(text for columns in header.signals for text in (columns.site, columns.signal))]:
        if not _SAFE_NAME.fullmatch(name):
            raise ValueError(f"it names a site {name!r}, which is not a valid name")
    classes = [entry["name"] for entry in header.classes]
    signals = [(columns.signal, columns.site) for columns in header.signals]
    for what, names in {"sites": sites, "classes": classes, "signals": signals, "chosen": header.chosen}.items():
        if len(set(names)) < len(names):
            raise ValueError(f"{what} name one twice")
    if strange := {site for _, site in signals} - set(sites) or set(header.chosen) - set(classes):
        raise ValueError(f"{sorted(strange)[0]!r} is named, but not described")
    for columns in header.signals:
        if len(columns.shape) not in (1, 2) or min(columns.shape) < 1 or columns.width > _MOST_COLUMNS:
            raise ValueError(f"the {columns.signal} of {columns.site} has the shape {columns.shape}")
    if header.selected < 0:
        raise ValueError(f"{header.selected} images are selected")


def provenance_of(
    model: LoadedModel,
    selection: Selection,
    *,
    command: str,
    settings: Mapping[str, Any],
    spatial_maps: Mapping[str, int],
    demo: bool,
) -> dict[str, Any]:
    """Return the facts about its making that a recording keeps, as JSON-able values.

    Args:
        model: the network.
        selection: the images.
        command: the command line or call.
        settings: other settings: device, batch size, workers ...
        spatial_maps: number of maps of each module that multiplies by spatial maps, which are not recorded.
        demo: whether network or images are the bundled demo's.
    """
    images = selection.images
    return {
        "command": readable(command),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "demo": demo,
        "model": {
            "name": model.name,
            "source": model.source,
            "weights": model.weights,
            "weights_sha256": model.weights_sha256,
            "preprocessing": dict(model.preprocessing),
            "labels": model.labels.title if model.labels else None,
        },
        "data": {
            "title": images.title,
            "location": images.location,
            "layout": images.layout,
            "images_found": len(images.samples),
            "files_ignored": images.ignored,
            "rule": selection.rule,
            "per_class": selection.per_class,
            "reference_per_class": selection.reference_per_class,
            "seed": selection.seed,
            "images_selected": len(selection.entries),
            "selection_sha256": selection_digest(selection),
        },
        "settings": dict(settings),
        "spatial_maps": dict(spatial_maps),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        },
    }


def selection_digest(selection: Selection) -> str:
    """Return the SHA-256 of which images are selected, in order: paths, classes and roles."""
    digest = hashlib.sha256()
    for entry in selection.entries:
        text = f"{entry.sample.path}\0{entry.sample.image_class.name}\0{entry.role}\0"
        digest.update(text.encode("utf-8", "surrogatepass"))  # Names of files may hold any bytes.
    return digest.hexdigest()


def facts_digest(facts: Any) -> str:
    """Return the SHA-256 of JSON-able facts, independent of the order of keys."""
    # Through JSON first: keys become texts and sequences lists, as they are read back.
    return hashlib.sha256(json.dumps(json.loads(json.dumps(facts)), sort_keys=True).encode()).hexdigest()


def attributes_digest(attributes: dict[str, Any]) -> str:
    """Return the checksum of a recording's attributes without its status and the checksums themselves."""
    return facts_digest({key: value for key, value in attributes.items() if key not in ("status", "checksums")})
