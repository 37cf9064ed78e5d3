"""Choose what runs the network: the network itself, or a faster copy that is checked on images of the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates import GateSite
from se_probe.images import DeviceDecoder, Selection, batches
from se_probe.models import LoadedModel
from se_probe.recording.fast_copy import FastCopy, compile_if_possible, fast_copy
from se_probe.recording.forward import (
    ForwardPass,
    HookedNetwork,
    Signals,
    filled,
    run_in_batches,
    seconds,
    signals_for,
)

_backends: Any = torch.backends
_FIRST_WITH_TF32 = 8  # compute capability of Ampere
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Number of images on which a faster copy is compared with the network; class means in another dtype need more.
_CHECKED, _MEASURED = 8, 64
# Size of the batch on which copies are timed on an accelerator before the run's own is chosen.
_ON_ACCELERATOR = 64


@dataclass(frozen=True)
class Execution:
    """How a network is run: what is traded for speed, and what is left out.

    Attributes:
        exact: run the network itself, so that gates equal those of plain hooks bit for bit. The default is a copy
            with channels last in memory and batch norms folded into convolutions, whose gates are within 1e-5; it is
            discarded where a check on images finds otherwise.
        compile: compile that copy with frozen weights.
        dtype: "float32" or "bfloat16"; the network's own by default. The deviation is measured, not limited.
        predictions: whether the network's output is needed; otherwise a pass ends after the last site.
        device_decode: decode JPEGs on the device instead of with Pillow. Pixels differ; the deviation is measured.

    Raises:
        SeProbeError: the choices contradict each other, or the dtype is unknown.
    """

    exact: bool = False
    compile: bool = False
    dtype: str | None = None
    predictions: bool = True
    device_decode: bool = False

    def __post_init__(self) -> None:
        """Refuse contradicting choices."""
        if self.dtype is not None and self.dtype not in DTYPES:
            raise SeProbeError(f"the dtype {self.dtype!r} was requested; expected {' or '.join(DTYPES)}.")
        inexact = {
            "compilation": self.compile,
            f"the dtype {self.dtype}": self.dtype,
            "decoding on the device": self.device_decode,
        }
        other = next((name for name, wanted in inexact.items() if wanted), None)
        if self.exact and other:
            raise SeProbeError(f"an exact run and {other} were requested; choose one of the two.")

    @property
    def trial_images(self) -> int:
        """Number of images on which ways to run the network are compared before the run."""
        if self.exact:
            return 0
        return _MEASURED if self.dtype or self.device_decode else _CHECKED


@dataclass(frozen=True)
class TrialImages:
    """Images `(n, 3, H, W)` on the host, the class of each, and the same images decoded on a device."""

    images: torch.Tensor
    classes: Sequence[str]
    decoded: torch.Tensor | None = None


def trial_images(
    model: LoadedModel, selection: Selection, count: int, decoder: DeviceDecoder | None = None
) -> TrialImages:
    """Return images on which two ways to run a network are compared; one of noise where none is wanted or decodable.

    They are spread evenly over the chosen classes, where there are any; of a stream they are the first.
    """
    noise = TrialImages(torch.randn(1, *model.input_size, generator=torch.Generator().manual_seed(0)), [""])
    if not count:
        return noise
    entries = selection.entries
    places = [place for place, entry in enumerate(entries) if entry.role == "chosen"] or list(range(len(entries)))
    places.sort(key=lambda place: entries[place].position)
    if selection.images.streamed:
        places = places[:count]
    elif len(places) > count:
        places = [places[index * len(places) // count] for index in range(count)]
    load = partial(batches, selection, model.transform, batch_size=count, workers=0, places=places)
    batch = next(load())
    if not batch.indices:
        return noise
    classes = [entries[place].sample.image_class.name for place in batch.indices]
    if decoder is None:
        return TrialImages(batch.images, classes)
    decoded = next(load(decoder=decoder))
    return TrialImages(batch.images, classes, decoded.images if decoded.indices == batch.indices else None)


@dataclass(frozen=True)
class Engine:
    """A way to run batches; `facts` says for the provenance what was chosen and measured."""

    run: ForwardPass
    batch_size: int
    facts: dict[str, Any]


@contextmanager
def engine(
    network: nn.Module,
    sites: Sequence[GateSite],
    capture: Sequence[str],
    trial: TrialImages,
    *,
    execution: Execution,
    batch_size: int | None,
    images: int,
    say: Callable[[str], None],
) -> Iterator[Engine]:
    """Prepare a way to run a network, and keep hooks on it until the context ends.

    Args:
        network: the network, on its device; it is not changed.
        sites: those of its sites to record.
        capture: what to record beside the gates.
        trial: images on which ways to run the network are compared.
        execution: how it is run.
        batch_size: images in one forward pass, None for a measured choice.
        images: number of images of the run, which decides whether compiling pays.
        say: called with each line of the log.
    """
    plain = HookedNetwork(network, sites, capture, predictions=execution.predictions)
    fast, expected = _chosen_copy(plain, trial.images, execution, batch_size, say)
    run: ForwardPass = fast.hooked
    with fast.hooked.hooks():
        size, rates = (batch_size, {}) if batch_size else _measured_size(run, trial.images, say)
        facts = {**fast.facts(), "batch_size": size, **rates, "float32_precision": float32_precision(plain.device)}
        if execution.compile:
            target = None if execution.dtype else expected
            run, facts["compilation"] = compile_if_possible(fast.hooked, trial.images, size, target, images, say)
        if execution.dtype or trial.decoded is not None:
            facts["deviation"] = _deviation(run, size, trial, expected, say)
        if execution.dtype:
            taken = seconds(run, filled(trial.images[:size], size)) / size
            if taken > fast.seconds:
                times = f"{1e3 * taken:.0f} ms per image, not {1e3 * fast.seconds:.0f}"
                say(f"warning   {execution.dtype} is slower here: {times}")
        yield Engine(run, size, facts)


def _chosen_copy(
    plain: HookedNetwork, images: torch.Tensor, execution: Execution, batch_size: int | None, say: Callable[[str], None]
) -> tuple[FastCopy, Signals]:
    """Return what is run in place of the network, and the network's own signals for the trial images if needed."""
    if execution.exact:
        return FastCopy(plain), {}
    checked = images[:_CHECKED]
    timed = checked if plain.device.type == "cpu" else filled(checked, batch_size or _ON_ACCELERATOR)
    dtype = DTYPES[execution.dtype] if execution.dtype else None
    # Under TF32 a correct copy differs from the network by more than is allowed; another dtype does not use it.
    with ieee_float32() if dtype else nullcontext():
        expected = signals_for(plain, images)
        fast = fast_copy(plain, checked, expected, timed=timed, dtype=dtype)
    if fast.rejected:
        say(f"note      the network is run {fast.described}; discarded: a copy with {'; with '.join(fast.rejected)}")
    return fast, expected


def _measured_size(run: ForwardPass, images: torch.Tensor, say: Callable[[str], None]) -> tuple[int, dict[str, Any]]:
    size, rates = fastest_batch_size(run, tuple(images.shape[1:]))
    say(f"batch     {size} images; images per second: {', '.join(f'{rates[n]:.1f} at {n}' for n in rates)}")
    return size, {"images_per_second": {str(n): round(rate, 2) for n, rate in rates.items()}}


def _deviation(
    run: ForwardPass, size: int, trial: TrialImages, expected: Signals, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure the deviation of gates from the network's own, and report it."""
    images = trial.images if trial.decoded is None else trial.decoded
    facts = class_mean_deviation(expected, run_in_batches(run, images, size), trial.classes)
    say(
        f"note      class means of gates move by up to {facts['class_mean_largest']:.1e} (rms "
        f"{facts['class_mean_rms']:.1e}), single gates by up to {facts['gate_largest']:.1e}, measured on "
        f"{facts['images']} images of {facts['classes']} classes"
    )
    return facts


def class_mean_deviation(expected: Signals, found: Signals, classes: Sequence[str]) -> dict[str, Any]:
    """Return the largest and rms differences of class means and the largest of a single gate, in gate units."""
    names = list(dict.fromkeys(classes))
    members = torch.tensor([[name == other for other in classes] for name in names], dtype=torch.float64)
    weights = members / members.sum(1, keepdim=True)
    gaps = [
        (found[key].cpu().double() - values.cpu().double()).flatten(1)
        for key, values in expected.items()
        if key[0] == "gate"
    ]
    single = torch.cat(gaps, dim=1)
    means = weights @ single
    return {
        "class_mean_largest": float(means.abs().max()),
        "class_mean_rms": float(means.square().mean().sqrt()),
        "gate_largest": float(single.abs().max()),
        "images": len(classes),
        "classes": len(names),
    }


SIZES = (4, 8, 16, 32, 64, 128, 256)
# Seconds after which the search ends.
BUDGET = 10.0
# Gain in speed that is worth a larger batch's memory.
WORTHWHILE = 1.03


def fastest_batch_size(
    run: ForwardPass, input_size: tuple[int, ...], clock: Callable[[], float] = time.perf_counter
) -> tuple[int, dict[int, float]]:
    """Return the batch size with the most images per second, and the images per second of each size that was tried.

    Sizes grow until two in a row gain less than 3 %, the device's memory is full, or the time is up.
    """
    rates: dict[int, float] = {}
    best = SIZES[0]
    until = clock() + BUDGET
    for size in SIZES:
        try:
            rates[size] = size / seconds(run, torch.randn(size, *input_size), clock=clock)
        except (RuntimeError, MemoryError):
            if not rates:
                raise
            break
        if rates[size] >= rates[best] * WORTHWHILE:
            best = size
        if best < size // 2 or clock() > until:
            break
    return best, rates


def float32_precision(device: str | torch.device) -> dict[str, str]:
    """Return the precision in effect of float32 convolutions and matrix products: "ieee", "tf32" or "bf16".

    PyTorch's settings are `torch.backends...fp32_precision`. CUDA devices older than Ampere have no TF32, and devices
    other than CUDA and CPU have no such setting.
    """
    device = torch.device(device)
    backend = {"cuda": (_backends.cudnn.conv, _backends.cuda.matmul), "cpu": _mkldnn()}.get(device.type)
    if backend is None or (device.type == "cuda" and torch.cuda.get_device_capability(device)[0] < _FIRST_WITH_TF32):
        return {"convolution": "ieee", "matrix_product": "ieee"}
    convolution, product = (operation.fp32_precision.replace("none", "ieee") for operation in backend)
    return {"convolution": convolution, "matrix_product": product}


@contextmanager
def ieee_float32() -> Iterator[None]:
    """Compute float32 convolutions and matrix products in IEEE float32 within the context, on any device."""
    operations = (_backends.cudnn.conv, _backends.cuda.matmul, *_mkldnn())
    lowered = [(item, item.fp32_precision) for item in operations if item.fp32_precision not in ("none", "ieee")]
    for operation, _ in lowered:
        operation.fp32_precision = "ieee"
    try:
        yield
    finally:
        for operation, precision in lowered:
            operation.fp32_precision = precision


def _mkldnn() -> tuple[Any, Any]:
    return _backends.mkldnn.conv, _backends.mkldnn.matmul
