"""How numbers and text are put into a page: short, and so that nothing in them can become markup."""

import base64
import hashlib
import json
from typing import TypedDict

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

LAST_CODE = 65534
MISSING = 65535

# What could end a <script> element or a line of JSON; JSON reads the escapes back as the characters.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


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
    """Return bytes as an address that holds them."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def json_for_script(value: object) -> Markup:
    """Return JSON that can stand inside a `<script>` element whatever its strings are.

    Raises:
        ValueError: a number is not finite, which JSON does not know.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Safe: no "<" is left that could end the element.
    return Markup(text.translate(_ESCAPES))


def content_hash(text: str) -> str:
    """Return a source expression for a Content-Security-Policy that allows this one inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
