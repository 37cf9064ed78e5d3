"""Read the attributes of a recording, which may be damaged or come from strangers, without an array library."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from se_probe.errors import SeProbeError
from se_probe.io.files import reading, require_plain_files

SCHEMA = 3
INCOMPLETE, COMPLETE = "incomplete", "complete"
ROOT_ATTRIBUTES = ".zattrs"


def root_attributes(store: Path) -> dict[str, Any]:
    """Return the attributes of a recording's root, whose folder holds only folders and regular files."""
    path = store / ROOT_ATTRIBUTES
    attributes = None
    if os.path.lexists(path):
        with reading(store):
            require_plain_files(store)
        attributes = read_json(path)
    if not isinstance(attributes, dict) or not {"schema", "status"} <= attributes.keys():
        raise SeProbeError(
            f"{store} holds no recording; expected the folder of a run of se-probe excite, or the recording.zarr in it."
        )
    schema, status = attributes["schema"], attributes["status"]
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1 or status not in (INCOMPLETE, COMPLETE):
        raise SeProbeError(f"{path} is damaged: schema {schema!r}, status {status!r}; copy the recording again.")
    if schema > SCHEMA:
        raise SeProbeError(
            f"{store} has recording schema {schema}; this version of se-probe reads up to {SCHEMA}, use a later one."
        )
    return attributes


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise SeProbeError(
            f"{path} is damaged or missing ({type(error).__name__}: {error}); expected JSON. Copy or record it again."
        ) from error


def is_incomplete(store: Path) -> bool:
    """Return whether `store` is a recording that was stopped before its end."""
    try:
        return bool(root_attributes(store)["status"] == INCOMPLETE)
    except SeProbeError:
        return False
