"""Compute the same gates in less time: a copy with folded batch norms in another memory layout, or a compiled graph."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import nn
from torch._inductor import config as inductor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils.fusion import fuse_conv_bn_eval

from se_probe.errors import first_line
from se_probe.recording.forward import (
    ForwardPass,
    HookedNetwork,
    Signals,
    filled,
    run_in_batches,
    seconds,
    signals_for,
)

# Accepted deviation on the trial images: half of what is promised for all images, relative to values above 1.
ACCEPTED = 1e-5 / 2
# Compiling takes at least this many seconds.
_AT_LEAST = 30.0
# A compiled network that is slower by this factor is given up; a smaller one may be noise.
_SLOWER = 1.25


def deviation(expected: Signals, found: Signals) -> float:
    """Return the largest difference between signals, relative to the largest value where that exceeds 1.

    A value that is NaN in only one of them counts as an infinite difference.
    """
    return max((_deviation(values, found[key]) for key, values in expected.items()), default=0.0)


def _deviation(expected: torch.Tensor, found: torch.Tensor) -> float:
    if expected.numel() == 0:
        return 0.0
    expected, found = expected.cpu().double(), found.cpu().double()
    same = (expected == found) | (expected.isnan() & found.isnan())
    gaps = torch.where(same, 0.0, (found - expected).abs()).nan_to_num(nan=torch.inf)
    finite = expected[expected.isfinite()].abs()
    scale = max(1.0, float(finite.max())) if finite.numel() else 1.0
    return float(gaps.max()) / scale


@dataclass(frozen=True)
class FastCopy:
    """A network that is run in place of another.

    Attributes:
        hooked: the copy; the network itself where no copy was close enough.
        folded: number of batch norms that were folded into convolutions.
        deviation: largest difference of its signals from those of the network (see `deviation`).
        rejected: copies that were discarded, and why.
        seconds: seconds per image, before a change of dtype.
    """

    hooked: HookedNetwork
    folded: int = 0
    deviation: float = 0.0
    rejected: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def described(self) -> str:
        """How the network is run, in words."""
        kept = ["channels last"] if self.hooked.channels_last else []
        kept += [f"{self.folded} folded batch norms"] if self.folded else []
        return f"with {' and '.join(kept)}" if kept else "as it is"

    def facts(self) -> dict[str, Any]:
        """Return JSON-able facts for the provenance."""
        return {
            "channels_last": self.hooked.channels_last,
            "batch_norms_folded": self.folded,
            "largest_difference": self.deviation,
            "rejected": list(self.rejected),
        }


def fast_copy(
    plain: HookedNetwork,
    images: torch.Tensor,
    expected: Signals,
    *,
    timed: torch.Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> FastCopy:
    """Return the fastest copy whose signals stay within `ACCEPTED` on some images.

    Which memory layout is faster depends on the network (grouped convolutions may prefer channels first), the dtype and
    the machine. Both are timed, in the dtype of the run.

    Args:
        plain: the network, on its device; it is not changed.
        images: `(n, 3, H, W)`, on the host.
        expected: the network's own signals; those of these images come first.
        timed: the batch that copies are timed on; `images` by default. An accelerator needs a batch as large as the
            run's: a small one measures how fast operations are launched.
        dtype: that of the returned copy, the network's own by default. Copies are checked before they are converted.
    """
    expected = {key: values[: len(images)] for key, values in expected.items()}
    timed = images if timed is None else timed
    rejected: list[str] = []
    close: dict[bool, FastCopy] = {}  # by whether channels are last
    for channels_last, fold in ((True, True), (True, False), (False, True)):
        if channels_last in close:
            continue
        name = " and ".join(["channels last"] * channels_last + ["folded batch norms"] * fold)
        try:
            copy = _copy(plain, images[:1], channels_last=channels_last, fold=fold)
            far = deviation(expected, signals_for(copy.hooked, images))
        except Exception as error:  # views of one memory layout only, and whatever else a network does
            rejected.append(f"{name}: {first_line(error)}")
            continue
        if far <= ACCEPTED:
            close[channels_last] = replace(copy, deviation=far)
        else:
            rejected.append(f"{name}: gates move by {far:.1e}, more than {ACCEPTED:.0e}")
    copies = list(({False: FastCopy(plain)} | close).values())
    fast = _fastest(copies, timed)
    if dtype is not None:
        fast = replace(_fastest([_converted(copy, plain, dtype) for copy in copies], timed), seconds=fast.seconds)
    return replace(fast, rejected=tuple(rejected))


def _copy(plain: HookedNetwork, image: torch.Tensor, *, channels_last: bool, fold: bool) -> FastCopy:
    copy = deepcopy(plain.network)
    if channels_last:
        copy = copy.to(memory_format=torch.channels_last)
    hooked = plain.with_copy(copy, channels_last=channels_last)
    return FastCopy(hooked, fold_batch_norms(copy, hooked.place(image)) if fold else 0)


def _converted(copy: FastCopy, plain: HookedNetwork, dtype: torch.dtype) -> FastCopy:
    network = deepcopy(plain.network) if copy.hooked is plain else copy.hooked.network
    return replace(copy, hooked=plain.with_copy(network.to(dtype), channels_last=copy.hooked.channels_last))


def _fastest(copies: Sequence[FastCopy], images: torch.Tensor) -> FastCopy:
    """Return the fastest copy for a batch, each timed twice, interleaved."""
    times = [float("inf")] * len(copies)
    for turn in range(2):
        for index, copy in enumerate(copies):
            with copy.hooked.hooks():
                times[index] = min(times[index], seconds(copy.hooked, images, warm=turn > 0))
    return replace(copies[times.index(min(times))], seconds=min(times) / len(images))


# Exactly these classes: a subclass may recompute its weight in every pass.
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, Conv2dSame)
# What replaces a folded batch norm: an activation inside it keeps its path.
_REMAINDERS: Mapping[type[nn.Module], Callable[[Any], nn.Module]] = {
    nn.BatchNorm1d: lambda norm: nn.Identity(),
    nn.BatchNorm2d: lambda norm: nn.Identity(),
    nn.BatchNorm3d: lambda norm: nn.Identity(),
    BatchNormAct2d: lambda norm: nn.Sequential(OrderedDict(norm.named_children())),
}


def fold_batch_norms(network: nn.Module, batch: torch.Tensor) -> int:
    """Fold batch norms into the convolutions whose output they normalise, in place; return how many.

    Pairs are found in a forward pass of `batch`: the output of the convolution is the input of the norm. Another
    reader of a convolution's output is not noticed: compare the folded network with the plain one.
    """
    pairs = _pairs(network, batch)
    for convolution_path, norm_path in pairs:
        convolution: Any = network.get_submodule(convolution_path)
        norm: Any = network.get_submodule(norm_path)
        _replace(network, convolution_path, fuse_conv_bn_eval(convolution, norm))
        _replace(network, norm_path, _REMAINDERS[type(norm)](norm))
    return len(pairs)


def _pairs(network: nn.Module, batch: torch.Tensor) -> list[tuple[str, str]]:
    """Return the paths of convolutions and of the batch norms that read only their output."""
    outputs: dict[str, list[torch.Tensor]] = defaultdict(list)
    inputs: dict[str, list[torch.Tensor]] = defaultdict(list)
    with ExitStack() as hooks, torch.no_grad():
        for path, module in _own_modules(network):
            if type(module) in _CONVOLUTIONS:
                hook = module.register_forward_hook(lambda _m, _i, out, seen=outputs[path]: seen.append(out))
            elif type(module) in _REMAINDERS and getattr(module, "running_mean", None) is not None:
                hook = module.register_forward_pre_hook(lambda _m, args, seen=inputs[path]: seen.extend(args[:1]))
            else:
                continue
            hooks.callback(hook.remove)
        network(batch)
    makers = {id(seen[0]): path for path, seen in outputs.items() if len(seen) == 1}
    return [(makers[id(seen[0])], path) for path, seen in inputs.items() if len(seen) == 1 and id(seen[0]) in makers]


def _own_modules(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return modules with their paths, without those that are shared, share a weight, or carry hooks."""
    modules = list(network.named_modules(remove_duplicate=False))
    uses = Counter(id(module) for _, module in modules)
    weights = Counter(id(module.weight) for _, module in modules if getattr(module, "weight", None) is not None)
    return [
        (path, module)
        for path, module in modules
        if uses[id(module)] == 1
        and weights[id(getattr(module, "weight", None))] <= 1
        and not (module._forward_hooks or module._forward_pre_hooks)
    ]


def _replace(network: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, module.eval())


def compile_if_possible(
    hooked: HookedNetwork,
    images: torch.Tensor,
    size: int,
    expected: Signals | None,
    total: int,
    say: Callable[[str], None],
) -> tuple[ForwardPass, dict[str, Any]]:
    """Return a compiled network, or the same one where it cannot be compiled, and what was measured.

    `hooked` is inside `hooks()`. The compiled network must reproduce the `expected` signals of `images`, if given; the
    run has `total` images.
    """
    batch = filled(images[:size], size)
    before = seconds(hooked, batch) / size
    if before * total < _AT_LEAST:
        say(f"note      without compilation the run takes about {before * total:.0f} s: compiling will not pay")
    start = time.perf_counter()
    try:
        run = compiled(hooked, tuple(batch.shape))
        found = run_in_batches(run, images, size)
        took = time.perf_counter() - start
        far = 0.0 if expected is None else deviation(expected, found)
        if far > ACCEPTED:
            raise ValueError(f"its gates move by {far:.1e}, more than {ACCEPTED:.0e}")
        after = min(seconds(run, batch), seconds(run, batch, warm=True)) / size
        if after > _SLOWER * before:
            raise ValueError(f"compiled, an image takes {1e3 * after:.1f} ms, and {1e3 * before:.1f} ms without")
    except Exception as error:  # the compiler fails in many ways, none of which should end the run
        reason = first_line(error)
        say(f"note      the network is not compiled ({reason}); the run continues without compilation")
        return hooked, {"given_up": reason}
    saved = before - after
    pays = f"pays from {took / saved:.0f} images on" if saved > 0 else "saves no time on this machine"
    say(f"compile   {took:.0f} s, saves {1e3 * saved:.1f} ms per image: {pays}; this run has {total}")
    return run, {"seconds": round(took, 1), "seconds_saved_per_image": saved, "largest_difference": far}


def compiled(hooked: HookedNetwork, size: tuple[int, ...]) -> ForwardPass:
    """Trace a network inside `hooks()`, compile the graph for one input size, and return a function that runs it.

    The recorder is traced too, so that its copies of gates become outputs of the graph. Smaller batches are filled up.
    """
    # Traced on noise, so that a value wrongly taken for a constant shows on images.
    noise = torch.randn(size, generator=torch.Generator().manual_seed(0))
    keys: list[tuple[str, str]] = []
    with torch.no_grad():
        graph = make_fx(lambda images: _flat(hooked, images, keys))(hooked.place(noise))
    function = torch.compile(graph, dynamic=False)

    def run(images: torch.Tensor) -> tuple[object, Signals]:
        with torch.inference_mode():
            values = [value[: len(images)] for value in function(hooked.place(filled(images, size[0])))]
        output = values[len(keys)] if len(values) > len(keys) else None
        return output, dict(zip(keys, values, strict=False))

    # Dynamo reads this setting too, which `options` of torch.compile does not reach.
    with inductor.patch(freezing=True):
        run(noise)
    return run


def _flat(hooked: HookedNetwork, images: torch.Tensor, keys: list[tuple[str, str]]) -> list[torch.Tensor]:
    output, signals = hooked.run(images)
    keys[:] = signals
    return [*signals.values(), output] if isinstance(output, torch.Tensor) else list(signals.values())
