"""What one elementary operation costs: multiply-adds of layers, additions of pooling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

from se_probe.trace.lineage import operation_name

aten = torch.ops.aten
# A gap in torch's table: attention on the CPU goes by a name of its own, with the arguments of the others.
SAME_FORMULA = {
    aten._scaled_dot_product_flash_attention_for_cpu: aten._scaled_dot_product_flash_attention,
}
# Another: products of a matrix and a vector, by the position of the matrix.
MATRIX_VECTOR = {aten.mv: 0, aten.addmv: 1}
# Poolings that add up all they read and divide once: an addition for every element read, the division included.
AVERAGING = {"mean", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "linalg_vector_norm"}
# Sums and maxima of n elements take n - 1 additions or comparisons.
FOLDING = {"sum", "amax", "amin", "adaptive_max_pool2d", "adaptive_max_pool3d"}
# Poolings over windows read an element as often as windows hold it.
WINDOWS = {"avg_pool2d", "avg_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices"}


def multiply_adds(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> int:
    """Return the multiply-adds of a convolution or matrix product, 0 for everything else.

    The formulas are those of `torch.utils.flop_counter`, at 2 FLOPs a multiply-add: dense, with padded positions
    and without biases.
    """
    packet = func.overloadpacket
    if packet in MATRIX_VECTOR:
        return int(args[MATRIX_VECTOR[packet]].numel())
    formula = flop_registry.get(SAME_FORMULA.get(packet, packet))
    return 0 if formula is None else int(formula(*args, **kwargs, out_val=output)) // 2


def additions(func: Any, args: Sequence[Any], output: Any) -> int:
    """Return the additions of a pooling, a sum along axes or a sum of two tensors of one shape, 0 for all else.

    A maximum counts its comparisons.
    """
    name = operation_name(func)
    result = output[0] if isinstance(output, tuple | list) else output
    if name in AVERAGING:
        return int(args[0].numel())
    if name in FOLDING:
        return int(args[0].numel() - result.numel())
    if name in WINDOWS:
        kernel = args[1] if len(args[1]) > 1 else list(args[1]) * (result.dim() - 2)
        return int(result.numel() * math.prod(kernel))
    if name == "add" and isinstance(args[1], torch.Tensor) and args[0].shape == args[1].shape:
        return int(result.numel())
    return 0
