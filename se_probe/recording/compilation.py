"""Compile a network with frozen weights, with its gates as outputs of the compiled graph."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch._inductor import config as inductor
from torch.fx.experimental.proxy_tensor import make_fx

from se_probe.errors import first_line
from se_probe.recording.deviation import ACCEPTED, deviation
from se_probe.recording.forward import ForwardPass, HookedNetwork, Signals, filled, run_in_batches, seconds

# Compiling takes at least this many seconds.
_AT_LEAST = 30.0
# A compiled network that is slower by this factor is given up; a smaller one may be noise.
_SLOWER = 1.25


def compile_if_possible(
    hooked: HookedNetwork,
    images: torch.Tensor,
    size: int,
    expected: Signals | None,
    total: int,
    say: Callable[[str], None],
) -> tuple[ForwardPass, dict[str, Any]]:
    """Return a compiled network, or the same one where it cannot be compiled, and what was measured.

    Args:
        hooked: the network, inside `hooks()`.
        images: images to compare on.
        size: images in one forward pass.
        expected: signals that the compiled network must reproduce, None to skip that check.
        total: number of images of the run.
        say: called with each line of the log.
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
    say(f"compile   {took:.0f} s, saves {1e3 * saved:.1f} ms an image: {pays}; this run has {total}")
    return run, {"seconds": round(took, 1), "seconds_saved_per_image": saved, "largest_difference": far}


def compiled(hooked: HookedNetwork, size: tuple[int, ...]) -> ForwardPass:
    """Trace a network with its hooks, compile the graph, and return a function that runs it.

    The recorder is traced too, so that its copies of gates become outputs of the graph. A smaller batch is filled up,
    because the graph has one batch size.

    Args:
        hooked: the network, inside `hooks()`.
        size: `(batch, channels, height, width)` of its input.
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
