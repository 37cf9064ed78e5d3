"""The bundled demo networks, as models."""

from __future__ import annotations

from collections.abc import Mapping

from se_probe.errors import SeProbeError
from se_probe.models.network import BuiltNetwork
from se_probe.models.preprocessing import timm_preprocessing


def build_demo(kind: str, model_args: Mapping[str, object]) -> BuiltNetwork:
    """Build one of the bundled demo networks with its bundled weights.

    Raises:
        SeProbeError: there is no demo network of this kind, or arguments were given for it.
    """
    from se_probe.demo import DEMO_CLASSES, DEMO_MODELS, demo_network

    if kind not in DEMO_MODELS:
        raise SeProbeError(f'there is no demo network "{kind}"; expected one of {", ".join(DEMO_MODELS)}')
    if model_args:
        raise SeProbeError(f"the demo networks take no arguments; leave out {', '.join(model_args)}")
    network = demo_network(kind)
    name = f"demo:{kind}"
    return BuiltNetwork(
        network,
        name,
        "demo",
        "bundled with se-probe",
        timm_preprocessing(network, name, source=f"pretrained_cfg of {name}", model_args={}),
        DEMO_CLASSES,
    )
