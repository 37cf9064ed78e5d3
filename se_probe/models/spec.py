"""The forms in which a network can be named."""

from __future__ import annotations

from se_probe.errors import SeProbeError

FORMS = (
    "a timm name (legacy_seresnet50, legacy_seresnet50.in1k), torchvision:NAME, hf-hub:ORG/NAME, "
    "path/to/file.py:function, or demo:KIND"
)
_SCHEMES = ("torchvision", "hf-hub", "demo")


def parse_spec(spec: str) -> tuple[str, str]:
    """Return the source ("timm", "torchvision", "hf-hub", "file" or "demo") and the rest of a name.

    Raises:
        SeProbeError: the name has none of the forms.
    """
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


def _hint(text: str) -> str:
    if text.endswith((".py", ".py:")):
        return f" (which function of {text.removesuffix(':')} builds the network?)"
    if text.count("/") == 1 and ":" not in text:
        return f" (for the hub, hf-hub:{text})"
    return ""
