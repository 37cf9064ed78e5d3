"""Watch the gates of a network while it is trained, without changing the training."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from torch import nn

from se_probe.analysis.stats.moments import Floats
from se_probe.analysis.stats.states import FEWEST_STATE_IMAGES, STATES, channel_states, site_verdict
from se_probe.errors import SeProbeError
from se_probe.gates import GateRecorder, GateSite
from se_probe.gates.discovery import choose_sites
from se_probe.io.log import tell

Log = Callable[[Mapping[str, Any]], object]
# Columns of a row that are numbers.
NUMBERS = ("mean_gate", "sd", *STATES)
# Consecutive rows that must find a site not live before a warning: one may be chance.
PATIENCE = 2

COMPILED = (
    "the network is compiled while it is watched, and compiled code runs without the hooks that read gates; train "
    "without torch.compile, or record checkpoints with se-probe excite --checkpoints."
)
UNSEEN = (
    "no training step was seen: the network was not called in training mode, or by compiled code, which runs without "
    "the hooks that read gates"
)


class _TrainingRecorder(GateRecorder):
    """A recorder that accepts a network in training mode."""

    in_training = True


class _Batch:
    """Number of images of a batch, and mean and sum of squared deviations of each gate, on their way to the host."""

    mean: Floats
    m2: Floats

    def __init__(self, step: int, columns: torch.Tensor) -> None:
        with torch.no_grad():
            values = columns.double() if columns.device.type != "mps" else columns
            mean = values.mean(dim=0)
            packed = torch.stack([mean, (values - mean).square().sum(dim=0)])
        self.step, self.images = step, len(columns)
        self._packed = packed.to("cpu", non_blocking=packed.is_cuda)
        self._arrived = torch.cuda.Event() if packed.is_cuda else None
        if self._arrived is not None:
            self._arrived.record()

    @property
    def ready(self) -> bool:
        """Whether `arrive` would not wait."""
        return self._arrived is None or bool(self._arrived.query())

    def arrive(self) -> Self:
        """Wait for the moments."""
        if self._arrived is not None:
            self._arrived.synchronize()
        self.mean, self.m2 = self._packed.double().numpy()
        return self


class Watch:
    """Reads the gates of every `every`-th training step; see `watch`.

    Attributes:
        sites: the watched sites.
        rows: the rows so far, one for each watched step and site.
    """

    def __init__(
        self,
        network: nn.Module,
        sites: Sequence[GateSite],
        *,
        every: int,
        images: int,
        start: int,
        logs: Sequence[Log],
        say: Callable[[str], None],
    ) -> None:
        self.sites = list(sites)
        self.rows: list[dict[str, Any]] = []
        self._network, self._every, self._images, self._logs, self._say = network, every, images, logs, say
        self._recorder = _TrainingRecorder(network, sites)
        self._alarms = {site.name: _SiteAlarm(site.name) for site in sites}
        self._window: deque[_Batch] = deque()
        self._step = start
        self._pending: _Batch | None = None
        self._armed: ExitStack | None = None
        self._hooks = ExitStack()

    @property
    def table(self) -> pd.DataFrame:
        """The rows as a table."""
        return pd.DataFrame(self.rows)

    def __enter__(self) -> Self:
        self._hooks.callback(self._network.register_forward_hook(self._count).remove)
        try:
            self._arm()
        except BaseException:
            self._hooks.close()
            raise
        return self

    def __exit__(self, kind: object, *_error: object) -> None:
        self._disarm()
        self._hooks.close()
        if kind is None:
            self._flush()
            for line in [alarm.at_end() for alarm in self._alarms.values()] if self.rows else [UNSEEN]:
                if line:
                    self._say(line)

    def _arm(self) -> None:
        """Hook the network for the next training step; `_read` runs after the recorder's hooks."""
        with ExitStack() as armed:
            armed.enter_context(self._recorder)
            armed.callback(self._network.register_forward_hook(self._read).remove)
            self._armed = armed.pop_all()

    def _disarm(self) -> None:
        armed, self._armed = self._armed, None
        if armed is not None:
            armed.close()

    def _count(self, module: nn.Module, _args: Any, _output: Any) -> None:
        """Count a pass; on a watched step this hook runs before the recorder's and `_read`."""
        if torch.compiler.is_compiling():
            raise SeProbeError(COMPILED)
        if not module.training:  # A validation pass in between.
            return
        if self._pending is not None and self._pending.ready:
            self._flush()
        if self._armed is None:
            self._next()

    def _read(self, module: nn.Module, _args: Any, _output: Any) -> None:
        if not module.training:
            return
        try:
            gates = self._recorder.gates
        except SeProbeError as error:
            raise SeProbeError(COMPILED) from error
        self._disarm()
        self._flush()
        self._pending = _Batch(self._step, torch.cat([values.flatten(1) for values in gates.values()], dim=1))
        self._next()

    def _next(self) -> None:
        self._step += 1
        if self._step % self._every == 0:
            self._arm()

    def _flush(self) -> None:
        pending, self._pending = self._pending, None
        if pending is None:
            return
        self._window.append(pending.arrive())
        while sum(item.images for item in self._window) - self._window[0].images >= self._images:
            self._window.popleft()
        for numbers in _rows_of(self.sites, list(self._window)):
            row = {"step": pending.step, **numbers}
            self.rows.append(row)
            for log in self._logs:
                log(row)
            if line := self._alarms[row["site"]].after(row):
                self._say(line)


def watch(
    network: nn.Module,
    every: int = 100,
    *,
    log: Any = None,
    say: Callable[[str], None] | None = None,
    sites: Iterable[GateSite | str] | None = None,
    images: int = 256,
    start: int = 0,
    input_size: Sequence[int] | None = None,
    inputs: Any = None,
) -> Watch:
    """Read the gates of every `every`-th training step of a network inside a `with` block.

    >>> with se_probe.watch(network, every=100, log=SummaryWriter()) as watched:
    ...     for images, labels in loader:
    ...         train_step(network, images, labels)
    >>> watched.table  # one row per watched step and site

    Modules are hooked during watched steps only, to read the factors of products: weights, gradients, buffers and
    random numbers are those of training without a watch, bit for bit. A step is a call of the network in training mode;
    validation in between is neither counted nor read.

    In training mode batch norm uses the statistics of the batch, so that a gate also depends on the other images of its
    batch. Deviations are therefore taken within batches and pooled over the last watched ones; batches of one image
    have none.

    A warning is given when a site that was live is saturated, collapsed or constant (`stats.states`) at two watched
    steps in a row, when it is live again, and at the end for sites that were never live.

    Args:
        network: the network, as for `GateRecorder`; of DistributedDataParallel its `module`.
        every: steps from one watched step to the next; the first step is watched.
        log: receives every row: a function of a mapping, TensorBoard's SummaryWriter (`add_scalar`), or a list.
        say: called with each warning; by default it goes to the logger "se_probe".
        sites: sites to watch, or their names; by default all, found by a dry pass in evaluation mode.
        images: a row covers the last watched steps that together have this many images.
        start: number of the first step, for resumed training.
        input_size: size of the dry pass's input, as for `find_gates`.
        inputs: an example of the network's input for the dry pass, as for `find_gates`.

    Returns:
        A context manager with `rows` and `table`: `step`, `site`, `images`, `mean_gate`; `sd` within batches, root mean
        square over channels; the shares of channels that are `dynamic`, `open`, `closed` and `constant`; `verdict`.

    Raises:
        SeProbeError: the network has no gates, is wrapped or compiled, or a training step multiplies by other products
            than the dry pass did; a number is out of range.
    """
    if every < 1 or images < 1 or start < 0:
        raise SeProbeError(
            f"every={every}, images={images}, start={start} was given; expected whole numbers from 1, 1 and 0."
        )
    given = log if isinstance(log, (list, tuple)) else [] if log is None else [log]
    return Watch(
        network,
        choose_sites(network, sites, input_size=input_size, inputs=inputs),
        every=every,
        images=max(images, FEWEST_STATE_IMAGES),
        start=start,
        logs=[_log_of(item) for item in given],
        say=say or (lambda line: tell("watch", line, logging.WARNING)),
    )


def _log_of(given: Any) -> Log:
    """Return a function of rows; a SummaryWriter receives the numbers as `gates/SITE/NAME`."""
    if hasattr(given, "add_scalar"):

        def write(row: Mapping[str, Any]) -> None:
            for name in NUMBERS:
                given.add_scalar(f"gates/{row['site']}/{name}", row[name], row["step"])

        return write
    if not callable(given):
        raise SeProbeError(
            f"log={given!r} was given; expected a function of a row, a SummaryWriter, or a list of them."
        )
    function: Log = given
    return function


def _rows_of(sites: Sequence[GateSite], batches: Sequence[_Batch]) -> Iterator[dict[str, Any]]:
    """Yield the row of each site over some batches, in which all sites are side by side.

    Spread is pooled within batches: between them the weights have moved, which is no dependence on the image.
    """
    images = sum(batch.images for batch in batches)
    freedom = sum(batch.images - 1 for batch in batches)
    mean = np.sum([batch.images * batch.mean for batch in batches], axis=0) / images
    known = freedom >= FEWEST_STATE_IMAGES - 1
    variance = np.sum([batch.m2 for batch in batches], axis=0) / max(freedom, 1)
    spread = np.sqrt(variance) if known else np.full_like(mean, np.nan)
    first = 0
    for site in sites:
        here = slice(first, first := first + site.channels * site.branches)
        states = channel_states(mean[here], spread[here], bounded=site.bounded)
        yield {
            "site": site.name,
            "images": images,
            "mean_gate": float(mean[here].mean()),
            "sd": float(np.sqrt(np.mean(spread[here] ** 2))),
            **{state: float(np.mean(states == state)) if known else float("nan") for state in STATES},
            "verdict": site_verdict(mean[here], states),
        }


class _SiteAlarm:
    """Warns when the gates of a site that was live no longer depend on the image, and when they do again."""

    def __init__(self, site: str) -> None:
        self._site = site
        self._rows = self._still = 0
        self._was_live = self._warned = False

    def after(self, row: Mapping[str, Any]) -> str | None:
        """Return the warning after another row of the site, None for none."""
        verdict = row["verdict"]
        if verdict == "unknown":
            return None
        self._rows += 1
        if verdict == "live":
            again, self._warned, self._was_live, self._still = self._warned, False, True, 0
            return f"step {row['step']}: the gates of {self._site} depend on the image again" if again else None
        self._still += 1
        if not self._was_live or self._warned or self._still < PATIENCE:
            return None
        self._warned = True
        return (
            f"step {row['step']}: the gates of {self._site} are {verdict}: {1 - row['dynamic']:.0%} of its channels "
            f"hardly depend on the image (mean gate {row['mean_gate']:.2f}, SD {row['sd']:.4f} over {row['images']} "
            "images)"
        )

    def at_end(self) -> str | None:
        """Return the warning for a site that was live at no watched step, None for none."""
        if self._was_live or self._rows < PATIENCE:
            return None
        return f"the gates of {self._site} depended on the image at none of {self._rows} watched steps"
