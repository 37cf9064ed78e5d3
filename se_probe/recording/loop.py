"""The run itself: images through the network, gates to disk, moments along the way."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from se_probe.errors import SeProbeError, first_line
from se_probe.gates import GateSite
from se_probe.images import Batch, DeviceDecoder, Selection, batches
from se_probe.io.files import writing
from se_probe.labels import ImageClass
from se_probe.models import LoadedModel
from se_probe.recording.assembly import complete
from se_probe.recording.deviation import trial_images
from se_probe.recording.distributed import Ranks
from se_probe.recording.engine import Execution, engine, shapes_of
from se_probe.recording.forward import ForwardPass, Transfer, start
from se_probe.recording.header import Header, SignalColumns
from se_probe.recording.memory import OutOfMemoryRetry, keep_freed_memory
from se_probe.recording.recorded_batch import RecordedBatch, ShardWriter, take_in, unit_of
from se_probe.recording.recording import Recording, open_recording
from se_probe.recording.resume import begin, keep_execution, require_same
from se_probe.recording.stopping import StopRequest, stop_request
from se_probe.recording.store import shard_folder


def record(
    model: LoadedModel,
    sites: Sequence[GateSite],
    selection: Selection,
    path: Path,
    *,
    provenance: dict[str, Any],
    capture: Sequence[str] = (),
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
        capture: what to record beside the gates: "logit", "squeeze", "feature".
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
        say: is given a line about what is resumed, how the network is run, and a batch that was halved.
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
    network = model.network.to(device)
    blocks = tuple(
        SignalColumns(signal, site, shape) for (signal, site), shape in shapes_of(network, sites, capture).items()
    )
    classes = tuple({"name": item.name, "index": item.index, "wnid": item.wnid} for item in _classes(selection))
    chosen = tuple(item.name for item in selection.chosen)
    header = Header(tuple(sites), blocks, classes, chosen, len(selection.entries), provenance)
    ranks = ranks or Ranks()
    places = _places(path, header, ranks, resume, say)
    advance = _advance(progress, ranks)
    if places is None:
        advance(header.selected if ranks.first else 0)
        return open_recording(path)
    advance(header.selected - len(places) if ranks.first else 0)
    if share := ranks.share(places):
        decoder = _decoder(model, device, say) if execution.device_decode else None
        trial = trial_images(model, selection, execution.trial_images, decoder)
        options: dict[str, Any] = {"execution": execution, "batch_size": batch_size, "images": len(share)}
        with keep_freed_memory(), engine(network, sites, capture, trial, **options, say=say) as runs:
            if ranks.first:
                keep_execution(path, {**runs.facts, "decoded_by": str(decoder or "Pillow")})
            loaded = _loaded(selection, share, model, runs.batch_size, workers, decoder)
            recorded = _recorded(model, runs.run, blocks, selection, loaded, say)
            _put_on_disk(recorded, loaded, path, workers=workers, shard_images=shard_images, advance=advance)
    ranks.meet("recorded", meanwhile=lambda: advance(0))
    if ranks.first:
        with writing(path):
            complete(path)
    ranks.agree("complete", lambda: "")
    return open_recording(path)


def _places(path: Path, header: Header, ranks: Ranks, resume: bool, say: Callable[[str], None]) -> list[int] | None:
    """Return the places that all ranks together are to record, as rank 0 finds them."""
    places: list[int] | None = json.loads(
        ranks.agree("places", lambda: json.dumps(begin(path, header, resume=resume, say=say)))
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
    """Return what counts images of this rank, and tells `progress` of those that all ranks have done since."""
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
    *,
    workers: int,
    shard_images: int,
    advance: Callable[[int], None],
) -> None:
    """Write what comes into shards, until the end or until the run is to stop."""
    with stop_request() as stop:
        with (
            _worker_deaths(path, stop, workers),
            ShardWriter(shard_folder(path), shard_images) as writer,
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
    run: ForwardPass,
    blocks: Sequence[SignalColumns],
    selection: Selection,
    loaded: Iterator[Batch],
    say: Callable[[str], None],
) -> Generator[RecordedBatch]:
    """Yield batches one step late, so that the device computes one while the host takes in the one before."""
    forward = OutOfMemoryRetry(lambda images, units: start(run, images, units), say)

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
    """Say in one line that a process that decodes images died, unless it was stopped together with this one."""
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
    """Return whether an error is how the loader meets a dead process: by its own words, or at a closed connection."""
    if isinstance(error, RuntimeError):
        return str(error).startswith("DataLoader worker")
    # What a process that is alive raises comes through with other words.
    return isinstance(error, ConnectionError | EOFError | FileNotFoundError) and not str(error).startswith("Caught ")


def _forget_frames(error: BaseException | None) -> None:
    """Let go of what the frames of an error hold, the loader among it, which ends its processes only then."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
