"""Render a template as one self-contained HTML file that makes no requests, with all values escaped."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import TypedDict

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

LAST_CODE = 65534
MISSING = 65535

# What could end a <script> element or a line of JSON; JSON reads the escapes back as the characters.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def render(template: str, *, scripts: Sequence[str] = (), **values: object) -> str:
    """Fill a template with escaped values; the page's policy allows only these scripts and this package's style."""
    environment = Environment(
        loader=PackageLoader("se_probe.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.filters["decimals"] = _significant
    style = asset("report.css")
    allowed = " ".join(map(content_hash, scripts)) or "'none'"
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src {content_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    # Safe: styles and scripts are files of this package and of a library.
    trusted = {"style": Markup(style), "scripts": [Markup(script) for script in scripts]}
    return environment.get_template(template).render(policy=policy, **trusted, **values)


def asset(name: str) -> str:
    """Return a file of this package as text."""
    return files("se_probe.report").joinpath(name).read_text(encoding="utf-8")


def content_hash(text: str) -> str:
    """Return a source expression for a Content-Security-Policy that allows this one inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def _significant(number: float) -> str:
    return f"{number:.3f}" if abs(number) >= 0.01 or number == 0 else f"{number:.2g}"


class Packed(TypedDict):
    """Numbers as `low + step * code`; `data` is the base64 of little-endian 16-bit codes, 65535 for missing."""

    low: float
    step: float
    data: str


def packed(values: NDArray[np.floating]) -> Packed:
    """Return an array, flattened in C order, with an error of at most 1/131068 of its range; NaN is missing."""
    numbers = np.asarray(values, dtype=np.float64).ravel()
    known = numbers[np.isfinite(numbers)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    step = (high - low) / LAST_CODE
    steps = (numbers - low) / (step or 1.0)
    codes = np.where(np.isfinite(numbers), np.rint(np.nan_to_num(steps, posinf=0, neginf=0)), MISSING)
    return {"low": low, "step": step, "data": packed_integers(codes)}


def packed_integers(values: NDArray[np.generic]) -> str:
    """Return integers from 0 to 65535, flattened in C order, as the base64 of little-endian 16-bit numbers."""
    return base64.b64encode(values.astype("<u2").tobytes()).decode("ascii")


def data_uri(content: bytes, media_type: str) -> str:
    """Return bytes as a data: URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def json_for_script(value: object) -> Markup:
    """Return JSON that can stand inside a `<script>` element whatever its strings are.

    Raises:
        ValueError: a number is not finite, which JSON cannot express.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Safe: no "<" is left that could end the element.
    return Markup(text.translate(_ESCAPES))
