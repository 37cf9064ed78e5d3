"""The forms in which a network can be named, and the arguments of its builder."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from se_probe.errors import SeProbeError

FORMS = (
    "a timm name (legacy_seresnet50, legacy_seresnet50.in1k), torchvision:NAME, hf-hub:ORG/NAME, "
    "path/to/file.py:function, demo:KIND, or photo:KIND"
)
_SCHEMES = ("torchvision", "hf-hub", "demo", "photo")
_WEIGHT_ARGUMENTS = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "weights")
_NEAR_NAMES = 5


def parse_spec(spec: str) -> tuple[str, str]:
    """Return the source ("timm", "torchvision", "hf-hub", "file", "demo" or "photo") and the rest of a name."""
    text = spec.strip()
    # The last colon, so that a drive letter stays part of the path.
    path, _, function = text.rpartition(":")
    if path.endswith(".py") and function.isidentifier():
        return "file", text
    scheme, colon, rest = text.partition(":")
    if colon and scheme in _SCHEMES and rest and ".." not in rest.replace("@", "/").split("/"):
        return scheme, rest
    if text and not colon and not set(text) & set("/\\ ") and not text.endswith(".py"):
        return "timm", text
    raise SeProbeError(f'"{spec}" does not name a network; expected {FORMS}{_hint(text)}')


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
    """Return a call of a builder as Python source."""
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def refuse_weight_arguments(arguments: Mapping[str, object]) -> None:
    """Refuse builder arguments that choose weights, because no provenance would record them."""
    choosing = [key for key in arguments if key in _WEIGHT_ARGUMENTS]
    if choosing:
        raise SeProbeError(f'model argument "{choosing[0]}" chooses weights; use --checkpoint FILE or --random-weights')


def near_names(name: str, known: Iterable[str]) -> str:
    """Return "; near names: …" with up to five of the known names, "" when none is near."""
    near = get_close_matches(name.lower(), list(known), n=_NEAR_NAMES)
    return f"; near names: {', '.join(near)}" if near else ""


def _hint(text: str) -> str:
    if text.endswith((".py", ".py:")):
        return f" (which function of {text.removesuffix(':')} builds the network?)"
    if text.count("/") == 1 and ":" not in text:
        return f" (for the hub, hf-hub:{text})"
    return ""


def _value(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
