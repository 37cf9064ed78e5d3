"""Record: pass images through the network, write gates to disk, and accumulate moments."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from se_probe.errors import SeProbeError, first_line
from se_probe.gates import GateSite
from se_probe.images import Batch, DeviceDecoder, Selection, batches
from se_probe.io.files import only_writer, writing
from se_probe.labels import ImageClass
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
from se_probe.recording.stopping import StopRequest, stop_request
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
    network = model.network.to(device)
    blocks = tuple(
        SignalColumns(signal, site, shape) for (signal, site), shape in signal_shapes(network, sites, capture).items()
    )
    classes = tuple({"name": item.name, "index": item.index, "wnid": item.wnid} for item in _classes(selection))
    chosen = tuple(item.name for item in selection.chosen)
    header = Header(tuple(sites), blocks, classes, chosen, len(selection.entries), provenance)
    header_of(header.attributes(INCOMPLETE))  # What could not be opened is not recorded.
    ranks = ranks or Ranks()
    work = _Work(model, selection, path, tuple(capture), device, execution, workers, shard_images, say)
    with _writer(path, ranks):
        places = _places(path, header, [entry.sample.fingerprint for entry in selection.entries], ranks, resume, say)
        advance = _advance(progress, ranks)
        done = header.selected - len(places or ())
        advance(done if ranks.first else 0)
        if places is not None:
            effects = None
            if EFFECT in capture:
                effects = settled_effects(path, model, sites, selection, effect_of, ranks, say)
            if share := ranks.share(places):
                _record_share(work, header, effects, share, batch_size, ranks, advance)
            ranks.meet("recorded", meanwhile=lambda: advance(0))
            if ranks.first:
                with writing(path):
                    complete(path)
            ranks.agree("complete", lambda: "")
        return open_recording(path)


@dataclass(frozen=True)
class _Work:
    """What a run records and how, as `record` is asked for it."""

    model: LoadedModel
    selection: Selection
    path: Path
    capture: tuple[str, ...]
    device: str | torch.device
    execution: Execution
    workers: int
    shard_images: int
    say: Callable[[str], None]


@contextmanager
def _writer(path: Path, ranks: Ranks) -> Iterator[None]:
    """Keep other runs from writing the recording; rank 0 stands for all ranks."""
    with ExitStack() as stack:
        if ranks.first:
            with writing(path):
                stack.enter_context(only_writer(path))
        yield


def _record_share(
    work: _Work,
    header: Header,
    effects: dict[str, Any] | None,
    share: Sequence[int],
    batch_size: int | None,
    ranks: Ranks,
    advance: Callable[[int], None],
) -> None:
    """Record the images at some places of the selection into shards."""
    model, selection, execution, say = work.model, work.selection, work.execution, work.say
    decoder = _decoder(model, work.device, say) if execution.device_decode else None
    trial = trial_images(model, selection, execution.trial_images, decoder)
    run = header_of(root_attributes(work.path)).run
    options: dict[str, Any] = {"execution": execution, "batch_size": batch_size, "images": len(share), "say": say}
    signals = [kind for kind in work.capture if kind != EFFECT]
    with (
        keep_freed_memory(),
        engine(model.network, header.sites, signals, trial, **options) as prepared,
        passes(prepared.run, header.sites, effects) as begin_pass,
    ):
        if ranks.first:
            keep_execution(work.path, {**prepared.facts, "decoded_by": str(decoder or "Pillow")})
        loaded = _loaded(selection, share, model, prepared.batch_size, work.workers, decoder)
        recorded = _recorded(model, begin_pass, header.signals, selection, loaded, say)
        writer = ShardWriter(shard_folder(work.path), work.shard_images, run)
        _put_on_disk(recorded, loaded, work.path, writer, workers=work.workers, advance=advance)


def _places(
    path: Path,
    header: Header,
    prints: Sequence[str | None],
    ranks: Ranks,
    resume: bool,
    say: Callable[[str], None],
) -> list[int] | None:
    """Return the places that all ranks together are to record, as rank 0 finds them."""
    places: list[int] | None = json.loads(
        ranks.agree("places", lambda: json.dumps(begin(path, header, prints, resume=resume, say=say)))
    )
    if not ranks.first:
        if not path.exists():
            raise SeProbeError(
                f"rank {ranks.rank} does not see {path}, which rank 0 has made; expected a folder that all ranks "
                "share. Without one, record the parts on their own and join them with se-probe merge."
            )
        require_same(path, header)
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


def _classes(selection: Selection) -> list[ImageClass]:
    return list(dict.fromkeys(entry.sample.image_class for entry in selection.entries))


def _decoder(model: LoadedModel, device: str | torch.device, say: Callable[[str], None]) -> DeviceDecoder | None:
    try:
        return DeviceDecoder(model.transform, device)
    except SeProbeError as error:
        say(f"note      {error}; Pillow decodes them")
        return None


def _loaded(
    selection: Selection,
    places: Sequence[int],
    model: LoadedModel,
    batch_size: int,
    workers: int,
    decoder: DeviceDecoder | None,
) -> Generator[Batch]:
    """Yield batches of the images at some places of the selection."""
    if not places:
        return
    part = replace(selection, entries=tuple(selection.entries[place] for place in places))
    for batch in batches(part, model.transform, batch_size=batch_size, workers=workers, decoder=decoder):
        indices = tuple(places[index] for index in batch.indices)
        skipped = tuple(replace(skip, index=places[skip.index]) for skip in batch.skipped)
        yield replace(batch, indices=indices, skipped=skipped)


def _put_on_disk(
    recorded: Generator[RecordedBatch],
    loaded: Generator[Batch],
    path: Path,
    writer: ShardWriter,
    *,
    workers: int,
    advance: Callable[[int], None],
) -> None:
    """Write batches into shards until the last one, or until a stop is requested."""
    with stop_request() as stop:
        with (
            _worker_deaths(path, stop, workers),
            writer,
            closing(loaded),  # Else its processes would live as long as the traceback of an error.
            closing(recorded),
            stop.undisturbed_end(),
        ):
            for batch in recorded:
                writer.add(batch)
                advance(batch.count)
                if stop.signal is not None:
                    break
        stop.check(path)


def _recorded(
    model: LoadedModel,
    begin_pass: StartPass,
    blocks: Sequence[SignalColumns],
    selection: Selection,
    loaded: Iterator[Batch],
    say: Callable[[str], None],
) -> Generator[RecordedBatch]:
    """Yield batches one step late, so that the device computes one while the host processes the previous one."""
    forward = OutOfMemoryRetry(begin_pass, say)

    def received(batch: Batch, transfers: Sequence[Transfer]) -> RecordedBatch:
        return take_in(model, selection, blocks, batch, [transfer.results() for transfer in transfers])

    pending: tuple[Batch, list[Transfer]] | None = None
    for batch in loaded:
        transfers = forward(batch.images, [unit_of(selection.entries[place]) for place in batch.indices])
        if pending is not None:
            yield received(*pending)
        pending = batch, transfers
    if pending is not None:
        yield received(*pending)


@contextmanager
def _worker_deaths(path: Path, stop: StopRequest, workers: int) -> Iterator[None]:
    """Report the death of a decoding process in one line, unless it was stopped together with this one."""
    try:
        yield
    except (RuntimeError, OSError, EOFError) as error:
        if not (workers and _is_death(error)):
            raise
        _forget_frames(error)
        if stop.signal is not None:
            return
        reason = first_line(error).rstrip(". ")
        raise SeProbeError(
            f"a process that decodes images died ({reason}); the system kills them where memory runs short. What was "
            f"recorded is kept in {path}: continue with --resume, and with fewer --workers if it happens again."
        ) from error


def _is_death(error: BaseException) -> bool:
    """Recognise the loader's dead-worker error by its message, or by a closed connection."""
    if isinstance(error, RuntimeError):
        return str(error).startswith("DataLoader worker")
    # An error raised inside a living worker arrives with another message.
    return isinstance(error, ConnectionError | EOFError | FileNotFoundError) and not str(error).startswith("Caught ")


def _forget_frames(error: BaseException | None) -> None:
    """Release what the frames of an error hold: the loader ends its processes only when it is released."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
