"""Checksums of recorded values: SHA-256 of an array's values, dtype and shape, and of facts as JSON."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ArrayDigest:
    """Checksum of an array that arrives in parts along its first axis; it does not depend on how the array is split.

    It is the SHA-256, in hexadecimal, of the values in row-major order and little-endian bytes, followed by the text
    `<dtype> <shape>`, such as `<f4 (200, 256)`.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._rows = 0
        self._kind = ""
        self._rest: tuple[int, ...] = ()

    def update(self, part: NDArray[Any]) -> None:
        """Add the next rows."""
        little = part.dtype.newbyteorder("<")
        self._hash.update(np.ascontiguousarray(part, dtype=little).tobytes())
        self._rows += part.shape[0]
        self._kind, self._rest = little.str, part.shape[1:]

    def hex(self) -> str:
        """Return the checksum of the rows so far."""
        whole = self._hash.copy()
        whole.update(f"{self._kind} {(self._rows, *self._rest)}".encode())
        return whole.hexdigest()


def array_digest(values: NDArray[Any]) -> str:
    """Return the checksum of an array."""
    digest = ArrayDigest()
    digest.update(values)
    return digest.hex()


def facts_digest(facts: Any) -> str:
    """Return the checksum of JSON-able facts, whatever the order of their keys."""
    # Through JSON first, which makes texts of all keys and lists of all sequences, as they are read back.
    return hashlib.sha256(json.dumps(json.loads(json.dumps(facts)), sort_keys=True).encode()).hexdigest()
