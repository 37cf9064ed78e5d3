"""Gate sites: the places in a network where a data-dependent factor multiplies channels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from se_probe.errors import SeProbeError
from se_probe.trace.operation import Operation, Product


@dataclass(frozen=True)
class HookPoint:
    """Where a gate is read during a forward pass: at the multiplications by it.

    Attributes:
        module: the innermost module whose output is the gate, else the site's own, which multiplies.
        shape: canonical shape of the gate without the image axis.
        products: the gate's multiplications.
        product_call, product_calls: in which call of the site's module these are made, and how many calls it gets.
        products_in_call: number of all multiplications in that call.
        logit: the operation that bounds the gate and takes the gate logits, None where there is no such.
        squeeze: the operation whose output the gate is computed from, None where there is no such.
        operations: number of operations of each name in the pass.
    """

    module: str
    shape: tuple[int, ...]
    products: tuple[Product, ...]
    product_call: int
    product_calls: int
    products_in_call: int
    logit: Operation | None = None
    squeeze: Operation | None = None
    operations: tuple[tuple[str, int], ...] = field(default=(), repr=False, compare=False)

    @property
    def product_shape(self) -> tuple[int, ...]:
        """Canonical shape of one product's factor; branches that are multiplied one by one have a product each."""
        return self.shape if len(self.products) == 1 else self.shape[1:]


@dataclass(frozen=True)
class GateSite:
    """A place where a network multiplies a feature map by a data-dependent factor without spatial extent.

    Attributes:
        name: paper-style name, `SE_{stage}_{block}` (SENet, "Role of Excitation"); unique in a network.
        module: path of the module whose forward makes the multiplication ("" is the network itself).
        family: "SE", "SK", "split attention", "ECA", "GRN", ... or "other". A label, not a criterion.
        stage: log2 of the stride at the output of the block that the gate belongs to; stride 4 is stage 2.
        block: position of the block among the gated blocks of its stage, from 1.
        stride: input size over the size of the feature map that is multiplied.
        channels: length of the channel axis.
        branches: length of the branch axis where branches compete (SK paths, ResNeSt radix), else 1.
        activation: last bounding function before the multiplication, "unbounded" where there is none.
        reduction: reduction ratio r = channels / width of the narrowest layer that computes the gate
            (SENet, equation 3); None where no layer is narrower than the gate.
        kernels: extent of each branch's convolution in input positions, (k - 1) * dilation + 1, where the branches
            have convolutions of their own (SKNet, section 3.1); else empty.
        hook_point: where the recorder reads the gate; None for a site read back from a recording.
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
        """Take the kernels from JSON too, which knows lists only."""
        object.__setattr__(self, "kernels", tuple(self.kernels))

    def to_dict(self) -> dict[str, Any]:
        """Return the site's facts as JSON-able values; where it is tapped is left out."""
        facts = asdict(self)
        del facts["hook_point"]
        return facts | {"kernels": list(self.kernels)}

    @property
    def bounded(self) -> bool:
        """Whether the gate lies between 0 and 1."""
        return self.activation in {"sigmoid", "hard-sigmoid"} or self.activation.startswith("softmax")


class GateSites(list[GateSite]):
    """The sites of a network in network order; a list that prints as a table.

    Attributes:
        left_out: what is deliberately not recorded, and why.
        input_size: size of the dry pass's first input without the image axis.
    """

    def __init__(self, sites: Iterable[GateSite], left_out: Sequence[Any] = (), input_size: Sequence[int] = ()) -> None:
        super().__init__(sites)
        self.left_out, self.input_size = tuple(left_out), tuple(input_size)

    def __repr__(self) -> str:
        """Return a table of the sites, and what was left out below it."""
        columns = ("name", "module", "family", "stride", "channels", "branches", "activation", "reduction")
        cells = [columns, *([_cell(getattr(site, column)) for column in columns] for site in self)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        rows = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
        return "\n".join([*rows, *map(str, self.left_out)])


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def hook_point_of(site: GateSite) -> HookPoint:
    """Return where a site is read.

    Raises:
        SeProbeError: the site was read back from a recording.
    """
    if site.hook_point is None:
        raise SeProbeError(
            f"site {site.name} says what was recorded, not where to read a network (it comes from a recording); "
            "pass the sites that find_gates returns for the network."
        )
    return site.hook_point
