"""Record what each channel's gate does to the answer: a reference and a check before the run, a backward pass a batch.

The effect ∂y/∂s · (r − s) needs its reference r before the first image. A first look at a seeded part of the images
therefore gives r, the mean of the class means there, and holds first-order effects against exact replacement on a
seeded sample. Both are kept in the recording's attributes, so that every shard, rank and continuation has the same r:

    outcome            what y is, a key of `se_probe.gates.effects.OUTCOMES`
    reference_images   number of images that r is the mean of
    reference          site → r, `(channel,)` or `(branch, channel)`
    agreement          a site each: `image` (place in the selection), `branch`, `channel`, `first_order`, `exact`
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates import GateGradients, GateRecorder, GateSite, exact_effects, gate_effects
from se_probe.gates.effects import OUTCOMES, logits_of, outcome_of
from se_probe.gates.resuming import Resumable
from se_probe.images import Batch, Selected, Selection, batches
from se_probe.images.imageset import ImageStream
from se_probe.io.files import writing
from se_probe.models import LoadedModel
from se_probe.recording.batch import unit_of
from se_probe.recording.distributed import Ranks
from se_probe.recording.engine import Execution
from se_probe.recording.forward import ForwardPass, HookedNetwork, Transfer, choices, start
from se_probe.recording.guard import root_attributes
from se_probe.recording.header import join
from se_probe.recording.moments import ClassMoments
from se_probe.recording.store import put_attributes

EFFECT = "effect"
# The first look: images of each class, and at the most in all.
_PER_CLASS, _REFERENCE_IMAGES = 8, 1024
# The sample on which gates are replaced exactly: images, and channels of each image at every site.
_SAMPLED_IMAGES, _SAMPLED_CHANNELS = 16, 12
_AT_ONCE, _DIGITS = 32, 6
# Starts the pass of a batch; the numbers are the output units of its images' classes.
StartPass = Callable[[torch.Tensor, Sequence[int]], Transfer]


def signal_shapes(
    network: nn.Module, sites: Sequence[GateSite], capture: Sequence[str]
) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return the shape of an image's values for each (signal, site name), those of effects last."""
    shapes = GateRecorder(network, sites, [kind for kind in capture if kind != EFFECT]).shapes
    gates = {site: shape for (signal, site), shape in shapes.items() if signal == "gate"}
    return shapes | ({(EFFECT, site): shape for site, shape in gates.items()} if EFFECT in capture else {})


def require_effects_possible(execution: Execution, outcome: str) -> None:
    """Raise SeProbeError where a network that is run so has no effects to record."""
    if outcome not in OUTCOMES:
        raise SeProbeError(f"the outcome {outcome!r} was asked for; expected one of {', '.join(OUTCOMES)}.")
    asked = {
        "a compiled network": execution.compile,
        f"the dtype {execution.dtype}": execution.dtype,
        "a run without predictions": not execution.predictions,
    }
    if found := next((name for name, wanted in asked.items() if wanted), None):
        raise SeProbeError(
            f"effects and {found} were asked for; effects take a backward pass of the network as it is, which that "
            "has not. Choose one of the two."
        )


def settled_effects(
    path: Path,
    model: LoadedModel,
    sites: Sequence[GateSite],
    selection: Selection,
    outcome: str,
    ranks: Ranks,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Return the facts of a recording's effects: those at `path`, or else those of a first look, which are kept there."""

    def look() -> str:
        attributes = root_attributes(path)
        if not attributes.get("effects"):
            facts = _first_look(model, sites, selection, outcome)
            say(
                f"effects   of {OUTCOMES[outcome]}, against the mean gates of {facts['reference_images']} images; "
                f"{_SAMPLED_CHANNELS} channels a site of some images were replaced to check them"
            )
            with writing(path):
                put_attributes(path, attributes | {"effects": facts})
        return ""

    ranks.agree("effects", look)
    facts: dict[str, Any] = root_attributes(path)["effects"]
    return facts


@contextmanager
def passes(run: ForwardPass, sites: Sequence[GateSite], facts: Mapping[str, Any] | None) -> Iterator[StartPass]:
    """Yield what starts the pass of a batch, with a backward pass where there are `facts` of effects."""
    if facts is None:
        yield partial(start, run)
        return
    # It is no compiled copy, which `require_effects_possible` has refused.
    with _effect_passes(cast(HookedNetwork, run), sites, facts) as begin_pass:
        yield begin_pass


@contextmanager
def _effect_passes(run: HookedNetwork, sites: Sequence[GateSite], facts: Mapping[str, Any]) -> Iterator[StartPass]:
    """Yield what starts a forward and a backward pass, whose last columns are the effects of all sites."""
    follower = GateGradients(run.network, sites)
    reference: dict[str, torch.Tensor] = {}

    def begin(images: torch.Tensor, units: Sequence[int]) -> Transfer:
        placed = run.place(images)
        own = torch.tensor(units).to(placed.device, non_blocking=True)
        passed, values = follower.run(placed, lambda given: outcome_of(facts["outcome"], given[0], own), run.run)
        output, signals = passed
        gradients = follower.gradients(values)
        with torch.no_grad():
            gates = follower.gates
            if not reference:
                reference.update({name: torch.tensor(facts["reference"][name]).to(gates[name]) for name in gates})
            effects = [gradients[site.name] * (reference[site.name] - gates[site.name]) for site in sites]
            return Transfer([join([*signals.values(), *effects]), *choices(output.detach(), own)])

    with follower:
        yield begin


def _first_look(model: LoadedModel, sites: Sequence[GateSite], selection: Selection, outcome: str) -> dict[str, Any]:
    """Return the reference, and first-order and exact effects of a sample, as JSON-able facts."""
    part = _first_part(selection)
    reference, images = _mean_gates(model, sites, part, selection)
    return {
        "outcome": outcome,
        "reference_images": images,
        "reference": {name: values.tolist() for name, values in reference.items()},
        "agreement": _agreement(model, sites, part, selection, reference, outcome),
    }


def _require_units(selection: Selection, outputs: int) -> None:
    for entry in selection.entries:
        if not 0 <= unit_of(entry) < outputs:
            raise SeProbeError(
                f"effects on the label need an output unit for every class, and {_class_of(entry)} has none in this "
                "network; record them on the class that the network predicts (--effect-of predicted)."
            )


def _first_part(selection: Selection) -> list[int]:
    """Return the places of the first look: the first images of every class; of a stream, the first of all."""
    places = range(len(selection.entries))
    if isinstance(selection.images.source, ImageStream):
        return sorted(places, key=lambda place: selection.entries[place].position)[: _REFERENCE_IMAGES // 4]
    names = [entry.sample.image_class.name for entry in selection.entries]
    most = max(1, min(_PER_CLASS, _REFERENCE_IMAGES // len(set(names))))
    seen: Counter[str] = Counter()
    part = []
    for place, name in enumerate(names):
        if seen[name] < most:
            part.append(place)
        seen[name] += 1
    return part


def _loaded(model: LoadedModel, selection: Selection, places: Sequence[int], size: int) -> Iterator[Batch]:
    """Yield batches of images at some places; their indices are places in the selection."""
    part = replace(selection, entries=tuple(selection.entries[place] for place in places))
    for batch in batches(part, model.transform, batch_size=size, workers=0):
        if batch.indices:
            yield replace(batch, indices=tuple(places[index] for index in batch.indices))


def _mean_gates(
    model: LoadedModel, sites: Sequence[GateSite], part: Sequence[int], selection: Selection
) -> tuple[dict[str, NDArray[np.float64]], int]:
    """Return the mean of the class means of the gates of some images, rounded, and the number of images."""
    moments, images = {site.name: ClassMoments() for site in sites}, 0
    with GateRecorder(model.network, sites) as recorder, torch.inference_mode():
        for batch in _loaded(model, selection, part, _AT_ONCE):
            gates = {name: values.float().cpu().numpy() for name, values in _gates(model, recorder, batch).items()}
            sound = np.all([np.isfinite(values.reshape(len(values), -1)).all(1) for values in gates.values()], axis=0)
            classes = [
                _class_of(selection.entries[place]) for place, kept in zip(batch.indices, sound, strict=True) if kept
            ]
            images += len(classes)
            for name, values in gates.items():
                moments[name].update(classes, values[sound])
    if not images:
        raise SeProbeError(
            f"none of the first {len(part)} images gives gates, from which the effects' reference is computed; "
            "repair the images, or record without effects."
        )
    means = {name: np.mean([item.mean for item in seen.by_class.values()], axis=0) for name, seen in moments.items()}
    return {name: _rounded(values) for name, values in means.items()}, images


def _gates(model: LoadedModel, recorder: GateRecorder, batch: Batch) -> dict[str, torch.Tensor]:
    model.network(_placed(model, batch.images))
    return recorder.gates


def _placed(model: LoadedModel, images: torch.Tensor) -> torch.Tensor:
    reference = next(model.network.parameters())
    return images.to(reference.device, reference.dtype, non_blocking=True)


def _class_of(entry: Selected) -> str:
    return entry.sample.image_class.name


def _rounded(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return values with few digits, which any reference may have and which JSON holds exactly."""
    values = np.asarray(values, dtype=np.float64)
    with np.errstate(divide="ignore"):
        size = np.floor(np.log10(np.abs(values)))
    places = np.where(np.isfinite(size), _DIGITS - 1 - size, 0.0)
    scale = 10.0**places
    rounded: NDArray[np.float64] = np.round(values * scale) / scale
    return rounded


def _agreement(
    model: LoadedModel,
    sites: Sequence[GateSite],
    part: Sequence[int],
    selection: Selection,
    reference: Mapping[str, NDArray[np.float64]],
    outcome: str,
) -> list[dict[str, Any]]:
    """Return first-order and exact effects of channels that are drawn at random at every site, for some images."""
    draw = np.random.default_rng(selection.seed)
    chosen = sorted(draw.permutation(np.asarray(part))[:_SAMPLED_IMAGES].tolist())
    batch = next(_loaded(model, selection, chosen, len(chosen)))
    images = _placed(model, batch.images)
    if outcome != "predicted":
        with torch.inference_mode():
            _require_units(selection, logits_of(model.network(images[:1])).shape[1])
    labels = torch.tensor([unit_of(selection.entries[place]) for place in batch.indices], device=images.device)
    first = gate_effects(model.network, images, labels=labels, outcome=outcome, reference=reference, sites=sites)
    passes = Resumable(model.network, sites, model.input_size)
    rows = []
    for site in sites:
        units = site.branches * site.channels
        picks = np.stack([draw.permutation(units)[:_SAMPLED_CHANNELS] for _ in batch.indices])
        found = exact_effects(
            model.network,
            images,
            site,
            torch.from_numpy(picks).to(images.device),
            first.reference[site.name],
            labels=labels,
            outcome=outcome,
            passes=passes,
        )
        expected = first.effects[site.name].flatten(1).gather(1, torch.from_numpy(picks).to(images.device))
        rows.append(
            {
                "site": site.name,
                "image": np.repeat(batch.indices, picks.shape[1]).tolist(),
                "branch": (picks // site.channels).ravel().tolist(),
                "channel": (picks % site.channels).ravel().tolist(),
                "first_order": _rounded(expected.cpu().numpy().ravel()).tolist(),
                "exact": _rounded(found.cpu().numpy().ravel()).tolist(),
            }
        )
    return rows
