"""Builder arguments from the command line: `key=value` strings and how they read in messages."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from se_probe.errors import SeProbeError

_WEIGHT_ARGUMENTS = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "weights")


def parse_model_args(pairs: Iterable[str]) -> dict[str, object]:
    """Return the arguments of `key=value` strings; a value that is no Python literal stays text.

    Raises:
        SeProbeError: a string has no `=`, its key is no identifier, or a key comes twice.
    """
    arguments: dict[str, object] = {}
    for pair in pairs:
        key, equals, text = (part.strip() for part in pair.partition("="))
        if not equals or not key.isidentifier():
            raise SeProbeError(
                f'model argument "{pair}" is not of the form key=value; write for example num_classes=50'
            )
        if key in arguments:
            raise SeProbeError(f'model argument "{key}" was given twice; give it once')
        arguments[key] = _value(text)
    return arguments


def describe_call(name: str, arguments: Mapping[str, object]) -> str:
    """Return a builder's name with its arguments, as they would be written in Python."""
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def refuse_weight_arguments(arguments: Mapping[str, object]) -> None:
    """Keep the choice of weights out of a library's builder arguments, where nothing would record it.

    Raises:
        SeProbeError: an argument chooses weights.
    """
    choosing = [key for key in arguments if key in _WEIGHT_ARGUMENTS]
    if choosing:
        raise SeProbeError(f'model argument "{choosing[0]}" chooses weights; use --checkpoint FILE or --random-weights')


def _value(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
