"""Record: pass images through the network, write gates to disk, and accumulate moments."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
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
from se_probe.recording.distributed import Ranks
from se_probe.recording.effects import EFFECT, StartPass, passes, reference_of, require_effects_possible, signal_shapes
from se_probe.recording.engine import Execution, engine, trial_images
from se_probe.recording.forward import Transfer, join_results
from se_probe.recording.guard import INCOMPLETE, root_attributes
from se_probe.recording.header import Header, SignalColumns, header_of, width
from se_probe.recording.memory import OutOfMemoryRetry, keep_freed_memory
from se_probe.recording.recording import Recording, open_recording
from se_probe.recording.resume import begin, keep_execution, require_same
from se_probe.recording.shards import RecordedBatch, ShardWriter, recorded_batch, shard_folder
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
        provenance: facts to keep with the recording, `model` and `data` among them.
        capture: what to record beside the gates: "logit", "squeeze", "feature", "effect".
        effect_of: the outcome that effects are of: "label", "predicted", "log-probability" (see `gate_effects`).
        batch_size: images in one forward pass, None for the fastest by a short measurement; halved where the device's
            memory does not hold them.
        workers: processes that decode images.
        device: where the network runs.
        execution: how it is run: as it is, faster, compiled, in another dtype, without predictions.
        shard_images: number of images in a shard, the unit in which a run is written and resumed.
        resume: continue the recording at `path`, or start one where there is none.
        ranks: the processes that record together, each its part of the images; this one alone by default. All of
            them call this function with the same arguments, and see the same folder at `path`.
        say: called with each line of the log.
        progress: called with the number of images done since the last call, those of an earlier run first.
        energies: called with the indices in the selection of a batch's images, and the energies of their outputs
            (`Results.energy`), which are not recorded.

    Returns:
        The recording, complete. An image that cannot be decoded, or has a NaN or infinite signal, is listed as skipped
        with the reason, and enters no moments.

    Raises:
        SeProbeError: the recording cannot be written; a process that decodes images died; no image of a chosen
            class could be recorded; or with `resume`, the settings differ from those of the recording. What was
            recorded stays, marked as incomplete.
        InterruptedRun: SIGINT or SIGTERM came; what was recorded, the last batch included, is on disk.
    """
    if EFFECT in capture:
        require_effects_possible(execution, effect_of)
    ranks = ranks or Ranks()
    model.network.to(device)
    header = _header(model, sites, selection, capture, provenance)
    run = _Run(model, selection, header, path, capture, execution, device, workers, say, energies)
    advance = _counter(progress, ranks)
    with only_writer(path) if ranks.first else nullcontext():
        places = _unrecorded(run, ranks, resume)
        done = header.selected - len(places or ())
        advance(done if ranks.first else 0)
        if places is not None:
            effects = None
            if EFFECT in capture:
                effects = reference_of(path, model, sites, selection, effect_of, ranks, say)
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
    # Parse the header as a reader would, so that an unreadable recording fails before it starts.
    header_of(header.attributes(INCOMPLETE))
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
        """Record the images at some positions of the selection into shards, until the last one or a stop."""
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
        with keep_freed_memory(), prepared as ready, passes(ready.run, self.header.sites, effects) as start_pass:
            if first:
                keep_execution(self.path, {**ready.facts, "decoded_by": str(decoder or "Pillow")})
            transform, size = self.model.transform, ready.batch_size
            loaded: Any = batches(
                self.selection, transform, batch_size=size, workers=self.workers, places=places, decoder=decoder
            )
            recorded = self._recorded(start_pass, loaded)
            with (
                stoppable(self.path, workers=self.workers) as stop,
                writer,
                closing(loaded),  # Otherwise its processes live as long as the traceback of an error.
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

    def _recorded(self, start_pass: StartPass, loaded: Iterator[Batch]) -> Generator[RecordedBatch]:
        """Yield batches one step late, so that the device computes one while the host processes the previous one."""
        forward = OutOfMemoryRetry(start_pass, self.say)
        pending: tuple[Batch, list[Transfer]] | None = None
        for batch in loaded:
            transfers = forward(batch.images, [self.selection.entries[place].unit for place in batch.indices])
            if pending is not None:
                yield self._received(*pending)
            pending = batch, transfers
        if pending is not None:
            yield self._received(*pending)

    def _received(self, batch: Batch, transfers: Sequence[Transfer]) -> RecordedBatch:
        blocks = self.header.signals
        results = join_results([transfer.results() for transfer in transfers], width(blocks))
        self.energies(batch.indices, results.energy)
        return recorded_batch(self.model, self.selection, blocks, batch, results)


def _unrecorded(run: _Run, ranks: Ranks, resume: bool) -> list[int] | None:
    """Return the positions that all ranks together have to record, None if the recording is complete."""
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


def _counter(progress: Callable[[int], None], ranks: Ranks) -> Callable[[int], None]:
    """Return a function that counts images of this rank and reports those of all ranks to `progress`."""
    shown = 0

    def advance(images: int) -> None:
        nonlocal shown
        total = ranks.count(images)
        progress(total - shown)
        shown = total

    return advance
