"""Paper-style names of sites: family, stage and block.

The stage follows resolution, as in the SENet paper: stride 4 is stage 2, stride 8 stage 3. It is read at the output of
the gate's block, because some blocks gate first and downsample afterwards (ResNeSt).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from se_probe.trace.products import Event
from se_probe.trace.watching import Call


@dataclass(frozen=True)
class Family:
    """A family of gates: its label, the prefix of its sites' names, and words of class names that hint at it."""

    label: str
    prefix: str
    hints: tuple[str, ...]


# The first family with a hint in the class name of the multiplying module labels the gate, else its structure does
# (`_by_structure`). Neither decides whether a product is a gate.
FAMILIES = (
    Family("split attention", "SA", ("splitattn", "splitattention", "splatconv", "splat")),
    Family("SK", "SK", ("selectivekernel", "skconv", "skunit", "sklayer")),
    Family("ECA", "ECA", ("eca", "efficientchannelattn")),
    Family("GRN", "GRN", ("globalresponsenorm",)),
    Family("GC", "GC", ("globalcontext",)),
    Family("GE", "GE", ("gatherexcite",)),
    Family("CBAM", "CBAM", ("cbam", "channelattn")),
    Family("SE", "SE", ("squeezeexcit", "semodule", "selayer", "seblock", "effectivese")),
    Family("other", "Gate", ()),
)
BY_LABEL = {family.label: family for family in FAMILIES}


def family_of(events: Sequence[Event], module: nn.Module, branches: int) -> Family:
    """Return the family of a gate.

    Args:
        events: its products, several if branches are multiplied one by one.
    """
    words = type(module).__name__.lower()
    hinted = (family for family in FAMILIES if any(hint in words for hint in family.hints))
    return next(hinted, BY_LABEL[_by_structure(events, branches)])


def _by_structure(events: Sequence[Event], branches: int) -> str:
    event = events[0]
    lineage = event.lineage
    if branches > 1:
        # Selective kernels gate separate feature maps, split attention the parts of one.
        separate = event.feature_lineage.operation == "stack" or len({item.feature_storage for item in events}) > 1
        return "SK" if separate else "split attention"
    if lineage is None or not ("sigmoid" in (lineage.activation or "") and lineage.squeezed):
        return "other"
    if lineage.mixing == {"channel convolution"}:
        return "ECA"
    return "SE" if lineage.mixing & {"convolution", "linear"} else "other"


def block_of(network: nn.Module, event: Event) -> Call:
    """Return the call of a gate's block.

    A block is the innermost module around the gate that is an item of a container, or one of several children of one
    class. The multiplying module itself counts only if it also computes the feature map, so that an SE module in a
    Sequential is not taken for a block.
    """
    own = event.calls[-1]
    outside = event.feature_storage in own.inputs
    for call in reversed(event.calls[:-1] if outside else event.calls):
        if _is_repeated(network, call.module):
            return call
    return own


def _is_repeated(network: nn.Module, path: str) -> bool:
    if not path:
        return False
    parent = network.get_submodule(path.rpartition(".")[0])
    if isinstance(parent, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        return True
    kind = type(network.get_submodule(path))
    return sum(type(child) is kind for child in parent.children()) > 1


def strides(event: Event, block: Call, extent: Sequence[int]) -> tuple[int, int]:
    """Return the stride of the multiplied feature map, and the stage of its block."""
    own = [event.feature_shape[axis] for axis in event.geometry.space]
    at_block = _block_extent(event, block, extent) or own

    def stride(sizes: Sequence[int]) -> float:
        return float((math.prod(extent) / max(1, math.prod(sizes))) ** (1 / max(1, len(extent))))

    return round(stride(own)), round(math.log2(max(1.0, stride(at_block))))


def _block_extent(event: Event, block: Call, extent: Sequence[int]) -> Sequence[int]:
    """Return the spatial extent of the block's output, empty if its axes are unknown.

    Its axes may be in another order than those of the product; the order closest to the input's proportions is used.
    """
    shape = block.output_shape or ()
    if len(shape) != len(extent) + 2:
        return [shape[axis] for axis in event.geometry.space] if len(shape) == len(event.feature_shape) else []
    channels_last = event.geometry.kept[-1:] == (len(event.feature_shape) - 1,)
    orders = (shape[2:], shape[1:-1])[:: -1 if channels_last else 1]

    def distortion(sizes: Sequence[int]) -> float:
        scales = [size / full for size, full in zip(sizes, extent, strict=True)]
        return max(scales) / min(scales)

    return min(orders, key=distortion)


def unique_names(names: Sequence[str]) -> list[str]:
    """Add letters to names that sites of one block share: SE_2_3a, SE_2_3b."""
    totals, seen = Counter(names), Counter[str]()
    unique = []
    for name in names:
        unique.append(f"{name}{_letters(seen[name])}" if totals[name] > 1 else name)
        seen[name] += 1
    return unique


def _letters(index: int) -> str:
    prefix = _letters(index // 26 - 1) if index >= 26 else ""
    return prefix + chr(ord("a") + index % 26)
