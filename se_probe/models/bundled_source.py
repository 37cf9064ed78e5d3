"""The networks that come with se-probe: `demo:KIND`, trained on drawings, and `photo:KIND`, on photographs."""

from __future__ import annotations

from collections.abc import Mapping

from se_probe.errors import SeProbeError
from se_probe.models.configuration import timm_preprocessing
from se_probe.models.network import BuiltNetwork


def build_bundled(spec: str, model_args: Mapping[str, object]) -> BuiltNetwork:
    """Build `demo:KIND` or `photo:KIND` with its bundled weights.

    Raises:
        SeProbeError: there is no such network, or arguments were given for it.
    """
    from se_probe.demo import DEMO_CLASSES, DEMO_MODELS, PHOTO_CLASSES, PHOTO_MODELS, demo_network, photo_network

    source, _, kind = spec.partition(":")
    kinds, labels, build = {
        "demo": (DEMO_MODELS, DEMO_CLASSES, demo_network),
        "photo": (PHOTO_MODELS, PHOTO_CLASSES, photo_network),
    }[source]
    if kind not in kinds:
        expected = ", ".join(f"{source}:{known}" for known in kinds)
        raise SeProbeError(f'there is no {source} network "{kind}"; expected one of {expected}')
    if model_args:
        raise SeProbeError(f"the {source} networks take no arguments; leave out {', '.join(model_args)}")
    network = build(kind)
    preprocessing = timm_preprocessing(network, spec, source=f"pretrained_cfg of {spec}", model_args={})
    return BuiltNetwork(network, spec, source, "bundled with se-probe", preprocessing, labels)
