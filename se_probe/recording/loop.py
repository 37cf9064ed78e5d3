"""Record: pass images through the network, write gates to disk, and accumulate moments."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from se_probe.errors import SeProbeError
from se_probe.gates import GateSite
from se_probe.images import Batch, DeviceDecoder, Selection, batches
from se_probe.io.files import only_writer, writing
from se_probe.models import LoadedModel
from se_probe.recording.batch import RecordedBatch, take_in, unit_of
from se_probe.recording.deviation import trial_images
from se_probe.recording.distributed import Ranks
from se_probe.recording.effects import (
    EFFECT,
    StartPass,
    passes,
    require_effects_possible,
    settled_effects,
    signal_shapes,
)
from se_probe.recording.engine import Execution, engine
from se_probe.recording.forward import Transfer
from se_probe.recording.guard import INCOMPLETE, root_attributes
from se_probe.recording.header import Header, SignalColumns, header_of
from se_probe.recording.memory import OutOfMemoryRetry, keep_freed_memory
from se_probe.recording.recording import Recording, open_recording
from se_probe.recording.resume import begin, keep_execution, require_same
from se_probe.recording.shards import ShardWriter, shard_folder
from se_probe.recording.stopping import stoppable
from se_probe.recording.store import complete


def record(
    model: LoadedModel,
    sites: Sequence[GateSite],
    selection: Selection,
    path: Path,
    *,
    provenance: dict[str, Any],
    capture: Sequence[str] = (),
    effect_of: str = "label",
    batch_size: int | None = 32,
    workers: int = 0,
    device: str | torch.device = "cpu",
    execution: Execution = Execution(),  # noqa: B008 it is frozen
    shard_images: int = 1024,
    resume: bool = False,
    ranks: Ranks | None = None,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[int], None] = lambda images: None,
    energies: Callable[[Sequence[int], NDArray[np.float64]], None] = lambda places, values: None,
) -> Recording:
    """Record the gates of a network over selected images.

    Args:
        model: the network; it is moved to `device`.
        sites: those of its sites to record.
        selection: the images, in order.
        path: where the recording is made; nothing may be there yet, unless `resume` is given.
        provenance: facts kept with the recording; `model` and `data` are expected among them.
        capture: what to record beside the gates: "logit", "squeeze", "feature", "effect".
        effect_of: the outcome that effects are of: "label", "predicted", "log-probability" (see `gate_effects`).
        batch_size: images in one forward pass, None for the fastest by a short measurement; halved where the device's
            memory does not hold them.
        workers: processes that decode images.
        device: where the network runs.
        execution: how it is run: as it is, faster, compiled, in another dtype, without predictions.
        shard_images: number of images after which what was recorded is put on disk. A run that is stopped
            leaves it there, marked as incomplete.
        resume: record only what the recording at `path` does not hold yet; start one where there is none.
        ranks: the processes that record together, each its part of the images; this one alone by default. All of
            them call this function with the same arguments, and see the same folder at `path`.
        say: is called with each line about what is resumed, how the network is run, and batches that were halved.
        progress: called with the number of images done since the last call, those of an earlier run first.
        energies: called with the places in the selection of the images of a batch, and the energies of their outputs
            (`Results.energy`), which are not in the recording.

    Returns:
        The recording, complete. An image that cannot be decoded, or with a signal that is NaN or infinite, is
        among its skipped images with the reason, and enters no moments.

    Raises:
        SeProbeError: the recording cannot be written; a process that decodes images died; no image of a chosen
            class could be recorded; or with `resume`, the settings differ from those of the recording. What was
            recorded stays, marked as incomplete.
        InterruptedRun: SIGINT or SIGTERM came; the batch under way was finished and what was recorded is on disk.
    """
    if EFFECT in capture:
        require_effects_possible(execution, effect_of)
    ranks = ranks or Ranks()
    model.network.to(device)
    header = _header(model, sites, selection, capture, provenance)
    run = _Run(model, selection, header, path, capture, execution, device, workers, say, energies)
    advance = _advance(progress, ranks)
    with only_writer(path) if ranks.first else nullcontext():
        places = _places(run, ranks, resume)
        done = header.selected - len(places or ())
        advance(done if ranks.first else 0)
        if places is not None:
            effects = None
            if EFFECT in capture:
                effects = settled_effects(path, model, sites, selection, effect_of, ranks, say)
            if share := ranks.share(places):
                run.record(share, effects, batch_size, shard_images, advance, first=ranks.first)
            ranks.meet("recorded", meanwhile=lambda: advance(0))
            if ranks.first:
                with writing(path):
                    complete(path)
            ranks.agree("complete", lambda: "")
        return open_recording(path)


def _header(
    model: LoadedModel,
    sites: Sequence[GateSite],
    selection: Selection,
    capture: Sequence[str],
    provenance: dict[str, Any],
) -> Header:
    shapes = signal_shapes(model.network, sites, capture)
    header = Header(
        sites=tuple(sites),
        signals=tuple(SignalColumns(signal, site, shape) for (signal, site), shape in shapes.items()),
        classes=tuple(
            {"name": item.name, "index": item.index, "wnid": item.wnid}
            for item in dict.fromkeys(entry.sample.image_class for entry in selection.entries)
        ),
        chosen=tuple(item.name for item in selection.chosen),
        selected=len(selection.entries),
        provenance=provenance,
    )
    header_of(header.attributes(INCOMPLETE))  # What could not be opened is not recorded.
    return header


@dataclass(frozen=True)
class _Run:
    """One process's part of a run: the arguments of `record`, and the loop over batches."""

    model: LoadedModel
    selection: Selection
    header: Header
    path: Path
    capture: Sequence[str]
    execution: Execution
    device: str | torch.device
    workers: int
    say: Callable[[str], None]
    energies: Callable[[Sequence[int], NDArray[np.float64]], None]

    def record(
        self,
        places: Sequence[int],
        effects: dict[str, Any] | None,
        batch_size: int | None,
        shard_images: int,
        advance: Callable[[int], None],
        *,
        first: bool,
    ) -> None:
        """Record the images at some places of the selection into shards, until the last or until a stop."""
        decoder = self._decoder()
        trial = trial_images(self.model, self.selection, self.execution.trial_images, decoder)
        writer = ShardWriter(shard_folder(self.path), shard_images, header_of(root_attributes(self.path)).run)
        prepared = engine(
            self.model.network,
            self.header.sites,
            [kind for kind in self.capture if kind != EFFECT],
            trial,
            execution=self.execution,
            batch_size=batch_size,
            images=len(places),
            say=self.say,
        )
        with keep_freed_memory(), prepared as ready, passes(ready.run, self.header.sites, effects) as begin_pass:
            if first:
                keep_execution(self.path, {**ready.facts, "decoded_by": str(decoder or "Pillow")})
            loaded = self._loaded(places, ready.batch_size, decoder)
            recorded = self._recorded(begin_pass, loaded)
            with (
                stoppable(self.path, workers=self.workers) as stop,
                writer,
                closing(loaded),  # Else its processes would live as long as the traceback of an error.
                closing(recorded),
            ):
                try:
                    for batch in recorded:
                        writer.add(batch)
                        advance(batch.count)
                        if stop.signal is not None:
                            break
                finally:
                    stop.ignore_children()

    def _decoder(self) -> DeviceDecoder | None:
        if not self.execution.device_decode:
            return None
        try:
            return DeviceDecoder(self.model.transform, self.device)
        except SeProbeError as error:
            self.say(f"note      {error}; Pillow decodes them")
            return None

    def _loaded(self, places: Sequence[int], batch_size: int, decoder: DeviceDecoder | None) -> Generator[Batch]:
        """Yield batches of the images at some places of the selection."""
        part = replace(self.selection, entries=tuple(self.selection.entries[place] for place in places))
        options: dict[str, Any] = {"batch_size": batch_size, "workers": self.workers, "decoder": decoder}
        for batch in batches(part, self.model.transform, **options):
            indices = tuple(places[index] for index in batch.indices)
            skipped = tuple(replace(skip, index=places[skip.index]) for skip in batch.skipped)
            yield replace(batch, indices=indices, skipped=skipped)

    def _recorded(self, begin_pass: StartPass, loaded: Iterator[Batch]) -> Generator[RecordedBatch]:
        """Yield batches one step late, so that the device computes one while the host processes the previous one."""
        forward = OutOfMemoryRetry(begin_pass, self.say)
        pending: tuple[Batch, list[Transfer]] | None = None
        for batch in loaded:
            transfers = forward(batch.images, [unit_of(self.selection.entries[place]) for place in batch.indices])
            if pending is not None:
                yield self._received(*pending)
            pending = batch, transfers
        if pending is not None:
            yield self._received(*pending)

    def _received(self, batch: Batch, transfers: Sequence[Transfer]) -> RecordedBatch:
        results = [transfer.results() for transfer in transfers]
        self.energies(batch.indices, np.concatenate([np.empty(0), *(item.energy for item in results)]))
        return take_in(self.model, self.selection, self.header.signals, batch, results)


def _places(run: _Run, ranks: Ranks, resume: bool) -> list[int] | None:
    """Return the places that all ranks together are to record, as rank 0 finds them."""
    prints = [entry.sample.fingerprint for entry in run.selection.entries]
    places: list[int] | None = json.loads(
        ranks.agree("places", lambda: json.dumps(begin(run.path, run.header, prints, resume=resume, say=run.say)))
    )
    if not ranks.first:
        if not run.path.exists():
            raise SeProbeError(
                f"rank {ranks.rank} does not see {run.path}, which rank 0 has made; expected a folder that all ranks "
                "share. Without one, record the parts on their own and join them with se-probe merge."
            )
        require_same(run.path, run.header)
    return places


def _advance(progress: Callable[[int], None], ranks: Ranks) -> Callable[[int], None]:
    """Return a function that counts images of this rank and reports those of all ranks to `progress`."""
    shown = 0

    def advance(images: int) -> None:
        nonlocal shown
        total = ranks.count(images)
        progress(total - shown)
        shown = total

    return advance
