"""Count and time what the gates of a network cost, with tables and figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch

from se_probe.costs import GateTimer, NetworkCost, RunTime, network_cost, reduction_sweep
from se_probe.costs.sentences import cost_sentences, cost_summary, no_sweep_sentence, time_sentences
from se_probe.errors import SeProbeError
from se_probe.figures.cost import cost_by_reduction, cost_by_site
from se_probe.gates import GateSite, discover, require_gates
from se_probe.io.progress import progress_bar
from se_probe.models import LoadedModel, load_architecture
from se_probe.recording import Recording
from se_probe.recording.run_folder import COST_FACTS, JOINED_COST
from se_probe.runs.analyse import update_report
from se_probe.runs.artifacts import Artifacts, Drawn
from se_probe.runs.joining import complete_run, recorded_network, require_same_sites
from se_probe.runs.options import verb
from se_probe.runs.plan import device_of, require_one_process
from se_probe.runs.settings import CostSettings
from se_probe.trace.dry_pass import default_input_size

TimeBy = Literal["all", "stage", "site"]
# Names of the groups of sites that are timed together, beside all of them.
GROUPS: Mapping[TimeBy, str | None] = {"all": None, "stage": "stage {0.stage}", "site": "{0.name}"}
PATIENCE = 2  # seconds of timing without a progress bar


@dataclass(frozen=True)
class CostReport:
    """What the gates of a network cost.

    Attributes:
        name: the network.
        demo: whether it is one of the demo's.
        cost: parameters and operations, of the network and of each site.
        sweep: the table of `reduction_sweep`, empty if no gate has a reduction ratio.
        run_time: the measured share of run time, if any.
        files: the written files.
    """

    name: str
    demo: bool
    cost: NetworkCost
    sweep: pd.DataFrame
    run_time: RunTime | None
    files: tuple[Path, ...] = ()

    def table(self) -> pd.DataFrame:
        """Return the cost of every site, one row each (see `NetworkCost.table`)."""
        return self.cost.table()

    def sentences(self) -> list[str]:
        """Return the results in sentences."""
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
            "summary": cost_summary(self.cost, self.run_time),
            "sentences": self.sentences(),
        }


@verb(CostSettings)
def cost(settings: CostSettings) -> CostReport:
    """Count and time what the gates of a network cost: parameters, operations, run time. No weights are downloaded.

    With `run`, tables and figures go into the folder `cost` in that run's, whose report then has a section on cost.

    Raises:
        SeProbeError: the network cannot be built, has no gates, cannot be timed or is not that of the run, or an
            argument is wrong.
    """
    require_one_process("the measurement of costs")
    settings, joined = _join(settings)
    name, network, size, demo = _subject(settings)
    discovery = discover(network, size)
    require_gates(name, discovery)
    if joined is not None:
        require_same_sites(joined, name, discovery.sites)
    counted = network_cost(network, discovery.sites, size)
    sweep = reduction_sweep(counted, settings.reductions)
    run_time = _timed(settings, network, discovery.sites, size) if settings.time else None
    report = CostReport(name, demo, counted, sweep, run_time)
    if settings.out is not None:
        report = _written(report, Path(settings.out))
    if joined is not None:
        update_report(joined, data=settings.data, progress=settings.progress)
    return report


def _join(settings: CostSettings) -> tuple[CostSettings, Recording | None]:
    """Complete settings from the run that they name; return them and its recording."""
    if settings.run is None:
        if settings.model is None:
            raise SeProbeError("no network was given; expected its name, or a run of excite with --run.")
        return settings, None
    recording = complete_run(settings.run)
    if settings.out is not None:
        raise SeProbeError(
            "both --run and --out were given, but the costs of a run go into its folder; omit one of the two."
        )
    model = recorded_network(recording) if settings.model is None else settings.model
    return replace(settings, model=model, out=recording.path.parent / JOINED_COST), recording


def _subject(settings: CostSettings) -> tuple[str, torch.nn.Module, tuple[int, ...], bool]:
    """Return the name, the network, its input size without the batch axis, and whether it is the demo's."""
    model, device, input_size = settings.model, settings.device, settings.input_size
    if model is None:
        raise TypeError("settings without a network")
    if isinstance(model, torch.nn.Module):
        if device is not None:
            raise SeProbeError(
                f"the device {device!r} was requested with a network in memory, which stays where it is; move the "
                "network there first."
            )
        name, network, size, demo = type(model).__name__, model, default_input_size(model), False
    else:
        device = device_of(device)
        loaded = model if isinstance(model, LoadedModel) else load_architecture(model, model_args=settings.model_args)
        name, network, demo = loaded.name, loaded.network.to(device), loaded.source == "demo"
        size = loaded.input_size
    if input_size is not None:
        size = (size[0], input_size, input_size) if isinstance(input_size, int) else tuple(input_size)
    return name, network, size, demo


def _timed(
    settings: CostSettings, network: torch.nn.Module, sites: Sequence[GateSite], size: tuple[int, ...]
) -> RunTime:
    groups: dict[str, list[GateSite]] = {}
    if (pattern := GROUPS[settings.time_by]) is not None:
        for site in sites:
            groups.setdefault(pattern.format(site), []).append(site)
    timer = GateTimer(network, sites, size, groups, settings.batch_size, settings.rounds)
    shown = settings.progress and timer.seconds > PATIENCE
    with progress_bar("timing", settings.rounds, shown=shown) as advance:
        return timer.measure(advance)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table with None where a value is missing."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return rows


def _written(report: CostReport, folder: Path) -> CostReport:
    artifacts = Artifacts(folder)
    caption = f"{report.name}, input {'×'.join(map(str, report.cost.input_size))}"
    about: dict[str, Any] = {"demo": report.demo, "caption": caption}
    table = report.table()
    drawn = [Drawn(cost_by_site(table, **about), table, "cost_by_site")]
    if len(report.sweep):
        drawn.append(Drawn(cost_by_reduction(report.sweep, **about), report.sweep, "cost_by_reduction"))
    artifacts.figures(drawn)
    artifacts.facts(report.to_dict(), COST_FACTS)
    return replace(report, files=tuple(artifacts.written))
