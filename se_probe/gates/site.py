"""Gate sites: places in a network where a data-dependent factor multiplies channels."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from se_probe.errors import SeProbeError
from se_probe.trace.operation import Operation, Product


@dataclass(frozen=True)
class HookPoint:
    """Where a gate is read during a forward pass: at its multiplications."""

    module: str  # the innermost module whose output is the gate, else the site's own module, which multiplies
    shape: tuple[int, ...]  # canonical shape of the gate without the image axis
    products: tuple[Product, ...]  # the gate's multiplications
    # product_call, product_calls: index of the call of the site's module that makes them, and the number of calls.
    product_call: int
    product_calls: int
    products_in_call: int  # number of all multiplications in that call
    logit: Operation | None = None  # the operation that bounds the gate; its input are the logits. None if unknown
    squeeze: Operation | None = None  # the operation whose output the gate is computed from, None if unknown
    # Number of operations of each name in the pass.
    operations: tuple[tuple[str, int], ...] = field(default=(), repr=False, compare=False)

    @property
    def product_shape(self) -> tuple[int, ...]:
        """Canonical shape of one product's factor; branches may have a product each."""
        return self.shape if len(self.products) == 1 else self.shape[1:]


@dataclass(frozen=True)
class GateSite:
    """A place where a network multiplies a feature map by a data-dependent factor without spatial extent.

    Attributes:
        name: paper-style name, `SE_{stage}_{block}` (SENet, "Role of Excitation"); unique in a network.
        module: path of the module whose forward makes the multiplication ("" is the network itself).
        family: "SE", "SK", "split attention", "ECA", "GRN", ... or "other". A label, not a criterion.
        stage: log2 of the stride at the output of the gate's block; stride 4 is stage 2.
        block: position of the block among the gated blocks of its stage, from 1.
        stride: input size over the size of the multiplied feature map.
        channels: length of the channel axis.
        branches: length of the branch axis if branches compete (SK paths, ResNeSt radix), else 1.
        activation: last bounding function before the multiplication, or "unbounded".
        reduction: reduction ratio r = channels / width of the narrowest layer that computes the gate
            (SENet, equation 3); None if no layer is narrower than the gate.
        kernels: extent of each branch's convolution in input positions, (k - 1) * dilation + 1, if the branches
            have convolutions of their own (SKNet, section 3.1); else empty.
        hook_point: where the gate is read; None for a site from a recording.
    """

    name: str
    module: str
    family: str
    stage: int
    block: int
    stride: int
    channels: int
    branches: int
    activation: str
    reduction: float | None
    kernels: tuple[int, ...] = ()
    hook_point: HookPoint | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Accept the kernels as a list, as JSON has them."""
        object.__setattr__(self, "kernels", tuple(self.kernels))

    def to_dict(self) -> dict[str, Any]:
        """Return the site without its hook point as JSON-able values."""
        facts = asdict(self)
        del facts["hook_point"]
        return facts | {"kernels": list(self.kernels)}

    @property
    def bounded(self) -> bool:
        """Whether the gate lies between 0 and 1."""
        return self.activation in {"sigmoid", "hard-sigmoid"} or self.activation.startswith("softmax")


def hook_point_of(site: GateSite) -> HookPoint:
    """Return where a site is read; raise SeProbeError if the site comes from a recording."""
    if site.hook_point is None:
        raise SeProbeError(
            f"site {site.name} comes from a recording and does not state where the network is read; pass the sites "
            "that find_gates returns for the network."
        )
    return site.hook_point
