"""From the name of a network to what its gates cost, with tables and figures, in one call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch

from se_probe.costs import REDUCTIONS, GateTimer, NetworkCost, RunTime, network_cost, reduction_sweep
from se_probe.costs.formula import check_reductions
from se_probe.costs.sentences import cost_sentences, no_sweep_sentence, time_sentences
from se_probe.costs.timing import check_rounds
from se_probe.errors import SeProbeError
from se_probe.figures import save_figure
from se_probe.figures.cost import cost_by_reduction, cost_by_site
from se_probe.gates import GateSite, discover, require_gates
from se_probe.io.files import write_file
from se_probe.io.progress import progress_bar
from se_probe.models import LoadedModel, load_architecture
from se_probe.recording.run_folder import FIGURES
from se_probe.runs.plan import check_batch, device_of
from se_probe.trace.dry_pass import default_input_size

TimeBy = Literal["all", "stage", "site"]
FACTS = "cost.json"
# How the sites that are timed together are named, beside all of them.
GROUPS: Mapping[TimeBy, str | None] = {"all": None, "stage": "stage {0.stage}", "site": "{0.name}"}
# Seconds of timing from which a progress bar is shown.
PATIENCE = 2


@dataclass(frozen=True)
class CostReport:
    """What the gates of a network cost.

    Attributes:
        name: the network.
        demo: whether it is one of the demo's.
        cost: parameters and operations, of the network and of each site.
        sweep: the table of `reduction_sweep`, empty where no gate has a reduction ratio to sweep.
        run_time: the measured share of run time, None where it was not asked for.
        files: what was written.
    """

    name: str
    demo: bool
    cost: NetworkCost
    sweep: pd.DataFrame
    run_time: RunTime | None
    files: tuple[Path, ...] = ()

    def table(self) -> pd.DataFrame:
        """Return the cost of every site, a row each (see `NetworkCost.table`)."""
        return self.cost.table()

    def sentences(self) -> list[str]:
        """Return what was found, in sentences."""
        sweep = [] if len(self.sweep) else [no_sweep_sentence(self.cost)]
        return [*cost_sentences(self.cost), *sweep, *(time_sentences(self.run_time) if self.run_time else ())]

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as JSON-able values."""
        cost = self.cost
        return {
            "network": self.name,
            "se-probe": version("se-probe"),
            "torch": str(torch.__version__),
            "input_size": list(cost.input_size),
            "parameters": cost.parameters,
            "multiply_adds": cost.multiply_adds,
            "parameters_without_gates": cost.parameters_without,
            "multiply_adds_without_gates": cost.multiply_adds_without,
            "gates": {
                "parameters": cost.gates.parameters,
                "squeeze": cost.gates.squeeze,
                "excitation": cost.gates.excitation,
                "scale": cost.gates.scale,
                "formula_parameters": cost.formula_parameters,
            },
            "sites": _records(cost.table().drop(columns=["network_parameters", "network_multiply_adds"])),
            "sweep": _records(self.sweep),
            "run_time": self.run_time.to_dict() if self.run_time else None,
        }


def cost(
    model: str | torch.nn.Module | LoadedModel,
    *,
    model_args: Mapping[str, object] | None = None,
    input_size: int | Sequence[int] | None = None,
    reductions: Sequence[int] = REDUCTIONS,
    time: bool = True,
    time_by: TimeBy = "all",
    rounds: int = 25,
    batch_size: int = 1,
    device: str | None = None,
    out: str | Path | None = None,
    progress: bool = True,
) -> CostReport:
    """Say what the gates of a network cost in parameters, operations and run time. No weights are downloaded.

    Args:
        model: a network's name as in `load_model`, or a network.
        model_args: arguments of its builder, for a name.
        input_size: side of the square input, or its size without the image axis; by default the network's own.
        reductions: reduction ratios r of the sweep.
        time: whether to measure the share of run time.
        time_by: "stage" or "site" measures each of them too, beside all gates together.
        rounds: how often every variant is timed.
        batch_size: images in a batch that is timed.
        device: where a network given by name is put, an accelerator by default, if any. A network in memory stays
            where it is.
        out: a folder, to write the figures with their CSV and `cost.json`.
        progress: whether to show a bar where timing takes more than 2 s.

    Raises:
        SeProbeError: the network cannot be built, has no gates or cannot be timed, or an argument is wrong.
    """
    check_batch(batch_size)
    check_reductions(reductions)
    check_rounds(rounds)
    if time_by not in GROUPS:
        raise SeProbeError(f'timing by "{time_by}" was asked for; expected one of {", ".join(GROUPS)}.')
    subject = _subject(model, model_args, device)
    size = subject.size(input_size)
    discovery = discover(subject.network, size)
    require_gates(subject.name, discovery)
    counted = network_cost(subject.network, discovery.sites, size)
    sweep = reduction_sweep(counted, reductions)
    run_time = None
    if time:
        groups = _groups(discovery.sites, time_by)
        timer = GateTimer(subject.network, discovery.sites, size, groups, batch_size, rounds)
        with progress_bar("timing", rounds, shown=progress and timer.seconds > PATIENCE) as advance:
            run_time = timer.measure(advance)
    report = CostReport(subject.name, subject.demo, counted, sweep, run_time)
    return report if out is None else _written(report, Path(out))


@dataclass(frozen=True)
class _Subject:
    """The network whose cost is asked for."""

    name: str
    network: torch.nn.Module
    input_size: tuple[int, ...]
    demo: bool

    def size(self, asked: int | Sequence[int] | None) -> tuple[int, ...]:
        """Return the size of the input without the image axis."""
        if asked is None:
            return self.input_size
        size = (self.input_size[0], asked, asked) if isinstance(asked, int) else tuple(asked)
        if min(size) < 1:
            raise SeProbeError(f"an input of size {size} was asked for; expected (channels, height, width) above 0.")
        return size


def _subject(
    model: str | torch.nn.Module | LoadedModel, model_args: Mapping[str, object] | None, device: str | None
) -> _Subject:
    if isinstance(model, torch.nn.Module):
        if device is not None:
            raise SeProbeError(
                f"the device {device!r} was asked for with a network in memory, which stays where it is; move the "
                "network there first."
            )
        return _Subject(type(model).__name__, model, default_input_size(model), False)
    place = device_of(device)
    loaded = model if isinstance(model, LoadedModel) else load_architecture(model, model_args=model_args)
    return _Subject(loaded.name, loaded.network.to(place), loaded.input_size, loaded.source == "demo")


def _groups(sites: Sequence[GateSite], time_by: TimeBy) -> dict[str, list[GateSite]]:
    groups: dict[str, list[GateSite]] = {}
    if (pattern := GROUPS[time_by]) is not None:
        for site in sites:
            groups.setdefault(pattern.format(site), []).append(site)
    return groups


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table with None where a value is missing."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return rows


def _written(report: CostReport, folder: Path) -> CostReport:
    table, figures = report.table(), folder / FIGURES
    caption = f"{report.name}, input {'×'.join(map(str, report.cost.input_size))}"
    files = save_figure(cost_by_site(table, demo=report.demo, caption=caption), table, figures, "cost_by_site")
    if len(report.sweep):
        figure = cost_by_reduction(report.sweep, demo=report.demo, caption=caption)
        files += save_figure(figure, report.sweep, figures, "cost_by_reduction")
    facts = folder / FACTS
    write_file(facts, (json.dumps(report.to_dict(), indent=2, ensure_ascii=False) + "\n").encode())
    return CostReport(report.name, report.demo, report.cost, report.sweep, report.run_time, (*files, facts))
