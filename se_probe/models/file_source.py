"""Functions in Python files of the user: builders of networks, measures, changes of images."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from se_probe.errors import SeProbeError, one_line
from se_probe.models.configuration import configured_model
from se_probe.models.network import LoadedModel
from se_probe.models.spec import describe_call, near_names


def build_from_file(spec: str, model_args: Mapping[str, object]) -> LoadedModel:
    """Build a network with `path/to/file.py:function`; preprocessing and labels are those of its `pretrained_cfg`."""
    path, function_name = _path_and_name(spec)
    with _importable(path.parent):
        function = _function(path, function_name, "returns a torch.nn.Module")
        network = _call(function, function_name, model_args, path)
    name = f"{path.name}:{function_name}"
    return configured_model(network, name, "file", f"as built by {name}", model_args)


def function_from_file(spec: str, does: str) -> Callable[..., Any]:
    """Return the function that `path/to/file.py:function` names.

    The file runs as a module of its own, with its folder importable meanwhile. `spec` must come from the user, never
    from a run's folder.

    Args:
        spec: path and name of the function.
        does: what such a function does, for messages: "expected one that …".

    Raises:
        SeProbeError: the file or function is missing, or the file fails.
    """
    path_text, _, name = spec.strip().rpartition(":")
    if not (path_text.endswith(".py") and name.isidentifier()):
        raise SeProbeError(f"{spec!r} names no function; expected path/to/file.py:function, one that {does}.")
    path, name = _path_and_name(spec)
    with _importable(path.parent):
        return _function(path, name, does)


def _path_and_name(spec: str) -> tuple[Path, str]:
    path_text, _, name = spec.strip().rpartition(":")
    path = Path(path_text).expanduser().resolve()
    if not path.is_file():
        raise SeProbeError(f"there is no file {path_text}; expected a Python file with a function {name}")
    return path, name


def _run(path: Path) -> ModuleType:
    # Registered under a name unique to the path, so that classes of the file find their module.
    module = ModuleType(f"se_probe_file_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    try:
        # Without import, so that no __pycache__ appears beside the user's file.
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        raise SeProbeError(f"{path.name} cannot be run: {one_line(error)}{line_of(error, path)}") from error
    return module


def _function(path: Path, name: str, does: str) -> Callable[..., Any]:
    module = _run(path)
    function: Callable[..., Any] | None = getattr(module, name, None)
    if not callable(function):
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        raise SeProbeError(f"{path.name} has no function {name}{near_names(name, own)}; expected one that {does}")
    return function


def _call(function: Callable[..., Any], name: str, model_args: Mapping[str, object], path: Path) -> torch.nn.Module:
    call = f"{path.name}:{describe_call(name, model_args)}"
    try:
        network = function(**model_args)
    except (Exception, SystemExit) as error:
        raise SeProbeError(f"{call} failed: {one_line(error)}{line_of(error, path)}") from error
    if not isinstance(network, torch.nn.Module):
        raise SeProbeError(f"{call} returned {type(network).__name__}; expected a torch.nn.Module")
    return network


def line_of(error: BaseException, path: Path) -> str:
    """Return " (line N)" for the innermost line of a file in an error's traceback, "" where there is none."""
    if isinstance(error, SyntaxError):
        return ""  # its message names the line already
    lines = []
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == str(path):
            lines.append(traceback.tb_lineno)
        traceback = traceback.tb_next
    return f" (line {lines[-1]})" if lines else ""


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before
