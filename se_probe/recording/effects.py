"""Record the effect of each channel's gate on the answer: reference and check first, then a backward pass per batch.

The effect ∂y/∂s · (r − s) needs its reference r before the first image. It is the mean of the class means over some of
the images. First-order effects are compared with exact replacement on a seeded sample. Both are kept in the
recording's attributes, so that every shard, rank and continuation has the same r:

    outcome            what y is, a key of `se_probe.gates.effects.OUTCOMES`
    reference_images   number of images that r is the mean of
    reference          site → r, `(channel,)` or `(branch, channel)`
    agreement          by site: `image` (index in the selection), `branch`, `channel`, `first_order`, `exact`
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates import GateGradients, GateRecorder, GateSite, exact_effects, gate_effects
from se_probe.gates.effects import OUTCOMES, logits_of, outcome_of
from se_probe.gates.resuming import Resumable
from se_probe.images import Batch, Selection, batches
from se_probe.io.files import writing
from se_probe.models import LoadedModel
from se_probe.recording.distributed import Ranks
from se_probe.recording.engine import Execution
from se_probe.recording.forward import ForwardPass, HookedNetwork, Transfer, choices, start
from se_probe.recording.guard import root_attributes
from se_probe.recording.header import join
from se_probe.recording.moments import ClassMoments
from se_probe.recording.store import put_attributes

EFFECT = "effect"
# Images of the reference: most per class, and most in all.
_PER_CLASS, _REFERENCE_IMAGES = 8, 1024
# The sample on which gates are replaced exactly: images, and channels of each image at every site.
_SAMPLED_IMAGES, _SAMPLED_CHANNELS = 16, 12
_AT_ONCE, _DIGITS = 32, 6
# Starts the pass of a batch, given its images and the output units of their classes.
StartPass = Callable[[torch.Tensor, Sequence[int]], Transfer]


def signal_shapes(
    network: nn.Module, sites: Sequence[GateSite], capture: Sequence[str]
) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return the shape of an image's values for each (signal, site name), those of effects last."""
    shapes = GateRecorder(network, sites, [kind for kind in capture if kind != EFFECT]).shapes
    if EFFECT in capture:
        shapes |= {(EFFECT, site): shape for (signal, site), shape in shapes.items() if signal == "gate"}
    return shapes


def require_effects_possible(execution: Execution, outcome: str) -> None:
    """Refuse ways to run a network that leave no backward pass to record effects with."""
    if outcome not in OUTCOMES:
        raise SeProbeError(f"the outcome {outcome!r} was requested; expected one of {', '.join(OUTCOMES)}.")
    asked = {
        "a compiled network": execution.compile,
        f"the dtype {execution.dtype}": execution.dtype,
        "a run without predictions": not execution.predictions,
    }
    if found := next((name for name, wanted in asked.items() if wanted), None):
        raise SeProbeError(
            f"effects and {found} were requested; effects need a backward pass of the network as it is. Choose one of "
            "the two."
        )


def reference_of(
    path: Path,
    model: LoadedModel,
    sites: Sequence[GateSite],
    selection: Selection,
    outcome: str,
    ranks: Ranks,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Return the reference of a recording's effects and their check, computed and kept at `path` on the first call."""

    def compute() -> str:
        attributes = root_attributes(path)
        if not attributes.get("effects"):
            reference, places = _mean_gates(model, sites, selection, _first_places(selection))
            facts = {
                "outcome": outcome,
                "reference_images": len(places),
                "reference": {name: values.tolist() for name, values in reference.items()},
                "agreement": _agreement(model, sites, selection, places, reference, outcome),
            }
            say(
                f"effects   of {OUTCOMES[outcome]}, against the mean gates of {len(places)} images; "
                f"{_SAMPLED_CHANNELS} channels per site were replaced in some images to check them"
            )
            with writing(path):
                put_attributes(path, attributes | {"effects": facts})
        return ""

    ranks.agree("effects", compute)
    facts: dict[str, Any] = root_attributes(path)["effects"]
    return facts


@contextmanager
def passes(run: ForwardPass, sites: Sequence[GateSite], facts: Mapping[str, Any] | None) -> Iterator[StartPass]:
    """Yield a function that starts the pass of a batch.

    With the `facts` of effects, a backward pass follows, and the last columns are the effects of all sites.
    """
    if facts is None:
        yield partial(start, run)
        return
    # It is not a compiled copy: `require_effects_possible` has refused that.
    hooked = cast(HookedNetwork, run)
    follower = GateGradients(hooked.network, sites)
    reference: dict[str, torch.Tensor] = {}

    def start_both(images: torch.Tensor, units: Sequence[int]) -> Transfer:
        placed = hooked.place(images)
        own = torch.tensor(units).to(placed.device, non_blocking=True)
        passed, values = follower.run(placed, lambda given: outcome_of(facts["outcome"], given[0], own), hooked.run)
        output, signals = passed
        gradients = follower.gradients(values)
        with torch.no_grad():
            gates = follower.gates
            if not reference:
                reference.update({name: torch.tensor(facts["reference"][name]).to(gates[name]) for name in gates})
            effects = [gradients[site.name] * (reference[site.name] - gates[site.name]) for site in sites]
            return Transfer([join([*signals.values(), *effects]), *choices(output.detach(), own)])

    with follower:
        yield start_both


def _first_places(selection: Selection) -> list[int]:
    """Return the positions of the reference's images: the first of every class, or of a stream the first of all."""
    entries = selection.entries
    if selection.images.streamed:
        return sorted(range(len(entries)), key=lambda place: entries[place].position)[: _REFERENCE_IMAGES // 4]
    classes = pd.Series([entry.sample.image_class.name for entry in entries])
    most = max(1, min(_PER_CLASS, _REFERENCE_IMAGES // classes.nunique()))
    return np.flatnonzero(classes.groupby(classes).cumcount() < most).tolist()


def _mean_gates(
    model: LoadedModel, sites: Sequence[GateSite], selection: Selection, places: Sequence[int]
) -> tuple[dict[str, NDArray[np.float64]], list[int]]:
    """Return the mean of the class means of the gates of some images, rounded, and which of the images give gates."""
    hooked, moments = HookedNetwork(model.network, sites), {site.name: ClassMoments() for site in sites}
    images: list[int] = []
    with hooked.hooks(), torch.inference_mode():
        for batch in _decodable(model, selection, places, _AT_ONCE):
            gates = {site: values.float().cpu().numpy() for (_, site), values in hooked(batch.images)[1].items()}
            sound = np.all([np.isfinite(values.reshape(len(values), -1)).all(1) for values in gates.values()], axis=0)
            kept = np.compress(sound, batch.indices).tolist()
            images += kept
            classes = [selection.entries[place].sample.image_class.name for place in kept]
            for name, values in gates.items():
                moments[name].update(classes, values[sound])
    if not images:
        raise SeProbeError(
            f"none of the first {len(places)} images gives gates, from which the effects' reference is computed; "
            "repair the images, or record without effects."
        )
    means = {name: np.mean([item.mean for item in seen.by_class.values()], axis=0) for name, seen in moments.items()}
    return {name: _rounded(values) for name, values in means.items()}, images


def _decodable(model: LoadedModel, selection: Selection, places: Sequence[int], size: int) -> Iterator[Batch]:
    loaded = batches(selection, model.transform, batch_size=size, workers=0, places=places)
    return (batch for batch in loaded if batch.indices)


def _agreement(
    model: LoadedModel,
    sites: Sequence[GateSite],
    selection: Selection,
    places: Sequence[int],
    reference: Mapping[str, NDArray[np.float64]],
    outcome: str,
) -> list[dict[str, Any]]:
    """Return first-order and exact effects of channels that are drawn at random at every site, for some images."""
    draw = np.random.default_rng(selection.seed)
    chosen = sorted(draw.permutation(np.asarray(places))[:_SAMPLED_IMAGES].tolist())
    batch = next(_decodable(model, selection, chosen, len(chosen)))
    images = HookedNetwork(model.network, sites).place(batch.images)
    if outcome != "predicted":
        with torch.inference_mode():
            _require_units(selection, logits_of(model.network(images[:1])).shape[1])
    labels = torch.tensor([selection.entries[place].unit for place in batch.indices], device=images.device)
    first = gate_effects(model.network, images, labels=labels, outcome=outcome, reference=reference, sites=sites)
    resumable = Resumable(model.network, sites, model.input_size)
    rows = []
    for site in sites:
        units = site.branches * site.channels
        picks = np.stack([draw.permutation(units)[:_SAMPLED_CHANNELS] for _ in batch.indices])
        channels = torch.from_numpy(picks).to(images.device)
        exact = exact_effects(
            model.network,
            images,
            site,
            channels,
            first.reference[site.name],
            labels=labels,
            outcome=outcome,
            passes=resumable,
        )
        first_order = first.effects[site.name].flatten(1).gather(1, channels)
        rows.append(
            {
                "site": site.name,
                "image": np.repeat(batch.indices, picks.shape[1]).tolist(),
                "branch": (picks // site.channels).ravel().tolist(),
                "channel": (picks % site.channels).ravel().tolist(),
                "first_order": _rounded(first_order.cpu().numpy().ravel()).tolist(),
                "exact": _rounded(exact.cpu().numpy().ravel()).tolist(),
            }
        )
    return rows


def _require_units(selection: Selection, outputs: int) -> None:
    for entry in selection.entries:
        if not 0 <= entry.unit < outputs:
            raise SeProbeError(
                f"effects on the label need an output unit for every class, and {entry.sample.image_class.name} has "
                "none in this network; record them on the class that the network predicts (--effect-of predicted)."
            )


def _rounded(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return values with six significant digits, which JSON holds exactly."""
    values = np.asarray(values, dtype=np.float64)
    with np.errstate(divide="ignore"):
        size = np.floor(np.log10(np.abs(values)))
    scale = 10.0 ** np.where(np.isfinite(size), _DIGITS - 1 - size, 0.0)
    rounded: NDArray[np.float64] = np.round(values * scale) / scale
    return rounded
