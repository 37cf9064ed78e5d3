"""Fold gates that hardly move into a network: search, confirm, save."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save

from se_probe.ablation.measure import require_measurable
from se_probe.ablation.metric import Metric, read_metric
from se_probe.analysis.sampling import select_sites
from se_probe.errors import SeProbeError
from se_probe.folding.evaluation import FEWEST_MEASURED, Loss, halves, images_for, least_limit
from se_probe.folding.export import ONNX, ExportError, export_onnx, export_sentence, require_onnx
from se_probe.folding.result import FoldRun, timing_sentence, trials_table, verdict_of
from se_probe.folding.saved import builder_of, write_folded
from se_probe.folding.study import Search, Study
from se_probe.folding.surgery import Folded, SiteFold, tolerance_of
from se_probe.images import Selection, select
from se_probe.io.log import tell, tell_line
from se_probe.io.progress import progress_bar, status
from se_probe.recording import Recording
from se_probe.recording.run_folder import FOLDED, JOINED_FOLD, RunFolder
from se_probe.runs.analyse import update_report
from se_probe.runs.artifacts import Artifacts
from se_probe.runs.joining import join, require_same, result_folder
from se_probe.runs.options import verb
from se_probe.runs.plan import (
    Plan,
    label_of,
    load_network,
    machine_of,
    open_data,
    plan_run,
    require_one_process,
    resolve_classes,
)
from se_probe.runs.presets import DEFAULT
from se_probe.runs.settings import FoldSettings
from se_probe.trace.dry_pass import reference_tensor

MAX_LOSS, MAX_LOSS_DEMO = 0.5, 2.0
# Images in the batch for comparing and timing an exported network.
EXPORTED_IMAGES = 8


@verb(FoldSettings)
def fold(settings: FoldSettings) -> FoldRun:
    """Replace gates that hardly move by constants, fold these into neighbouring layers, and save the network.

    One half of the images gives the constants (mean gates), the order of the sites (by the standard deviation of
    their gates) and the largest set whose loss is allowed; there the upper limit of the loss's interval decides. The
    other half confirms: nothing is saved where the loss measured on it is above `max_loss`.

    Returns:
        The run. Its folder holds `recording.zarr` (moments of the first half), `tables/`, `run.json` and, where
        something was folded, `folded/` with `model.safetensors`, `folded.json` and `load.py`. With `run` it is the
        folder `fold` in that run's, whose report then has a section on folding.

    Raises:
        SeProbeError: an input cannot be used, or there are too few images to show that a loss is as small as
            `max_loss`. Nothing was written.
    """
    require_one_process("folding")
    plan = _plan(settings)
    run = plan.run
    if run.provenance["demo"]:
        tell("note", "demo: drawn stimuli or a demo network, no finding about photographs")
    plan.folder.clear()
    with progress_bar("recording", len(plan.halves[0].entries), shown=settings.progress) as progress:
        study = Study(
            run.model,
            run.discovery.sites,
            plan.halves,
            plan.folder,
            run.provenance,
            device=run.machine.device,
            batch_size=settings.batch_size,
            workers=run.machine.workers,
            progress=progress,
            metric=plan.metric,
        )
    with status("searching for sites to fold", shown=settings.progress):
        found = None if settings.sites else study.search(plan.max_loss, tell_line)
        folded = study.folded(list(settings.sites or (found.chosen if found else ())))
    with status("confirming and timing", shown=settings.progress):
        result = _finish(study, folded, found, plan)
    if plan.joined is not None:
        update_report(plan.joined, data=settings.data, progress=settings.progress)
    return result


@dataclass(frozen=True)
class _Planned:
    """A run of `fold`: what is recorded in two halves, how loss is measured, and where results go."""

    run: Plan
    halves: tuple[Selection, Selection]
    metric: Metric | None
    max_loss: float
    export: str | None
    builder: dict[str, Any]
    folder: RunFolder
    joined: Recording | None


def _plan(settings: FoldSettings) -> _Planned:
    metric = None if settings.metric is None else read_metric(settings.metric)
    if metric is not None and settings.max_loss is None:
        unit = f" in {metric.unit}" if metric.unit else ""
        raise SeProbeError(
            f"the metric {metric.name} was given without --max-loss; give the largest allowed loss{unit}."
        )
    if settings.export is not None:
        require_onnx()
    machine = machine_of(settings, settings.batch_size)
    settings, joined = join(settings)
    network = settings.network(DEFAULT.model)
    folder = result_folder(settings, joined, JOINED_FOLD, f"fold-{label_of(network)}")
    builder = builder_of(network, settings.model_args)
    model = load_network(settings, DEFAULT.model)
    if joined is not None:
        require_same(joined, model)
    images = open_data(settings, model, unlabelled=metric is not None)
    chosen = images.classes if settings.classes is None else resolve_classes(images.labels, settings.classes)
    selection = select(images, chosen, per_class=settings.per_class, reference_per_class=0, seed=settings.seed)
    tell("images", f"{len(selection.entries)} of {len(chosen)} classes, in two halves")
    parts = halves(selection, settings.seed)
    max_loss = settings.max_loss or (MAX_LOSS_DEMO if settings.uses_demo else MAX_LOSS)
    # Refuse a search that could not fold anything before the first pass.
    if not settings.sites and (reason := _too_few(len(parts[0].entries), max_loss, metric)):
        raise SeProbeError(reason)
    require_measurable(model, selection, metric)
    run = plan_run(settings, model, selection, machine)
    select_sites(run.discovery.sites, settings.sites)
    return _Planned(run, parts, metric, max_loss, settings.export, builder, folder, joined)


def _too_few(images: int, max_loss: float, metric: Metric | None) -> str:
    """Say why so few images cannot show a loss as small as `max_loss`, "" if they can."""
    if metric is not None:
        reason = f"{images} search images are too few to tell how {metric.name} varies; {FEWEST_MEASURED} or more"
        return "" if images >= FEWEST_MEASURED else f"{reason} are needed: give more (--per-class)."
    floor = least_limit(images)
    if floor <= max_loss:
        return ""
    return (
        f"with {images} search images, a loss of {floor:.2f} points cannot be excluded even if no answer changes; "
        f"{images_for(max_loss)} are needed for {max_loss:g} points: give more (--per-class), or allow more "
        f"(--max-loss {math.ceil(10 * floor) / 10:g})."
    )


def _finish(study: Study, folded: Folded, found: Search | None, plan: _Planned) -> FoldRun:
    """Confirm on the held-out half, judge, and write the result."""
    max_loss = plan.max_loss
    loss, worst = study.confirm(folded) if folded.fixed else (None, 0.0)
    refusal = _refusal(study, folded, found, loss, worst, max_loss)
    facts: dict[str, Any] = {
        "measure": study.measure_name,
        "metric": None if plan.metric is None else plan.metric.facts,
        "max_loss": max_loss,
        "decided": "forced by sites" if found is None else "upper limit on the search half, estimate on the other",
        "refusal": refusal,
        "verdict": verdict_of(loss, max_loss, study.measure_name) if loss else "",
        "search": asdict(found.loss) if found and found.loss else None,
        "held_out": {**asdict(loss), "points": loss.points} if loss else None,
        "deviation": worst,
        "tolerance": tolerance_of(reference_tensor(study.network).dtype),
        "skipped": study.first.skipped + study.second.skipped,
    }
    folder = None if refusal else study.folder.path / FOLDED
    if folder is not None:
        timing = study.timing(folded)
        facts |= {"timing": asdict(timing), "size": _sizes(study.network, folded.network)}
        tell("latency", timing_sentence(timing))
        write_folded(folder, folded, plan.builder, {"fold": facts, **study.provenance})
        if plan.export is not None:
            facts["export"] = _exported(study, folded, folder)
        tell("wrote", str(folder), logging.DEBUG)
    tell("refused", refusal) if refusal else tell("folded", f"{len(folded.fixed)} sites, {facts['verdict']}")
    sites = _sites_table(study, () if refusal else folded.sites)
    trials = trials_table(found.trials if found else ())
    artifacts = Artifacts(study.folder.path)
    artifacts.tables({"fold_sites.csv": sites, "fold_trials.csv": trials})
    run_facts = {**study.provenance, "options": plan.run.options, "fold": facts}
    artifacts.facts({**run_facts, "complete": True})
    return FoldRun(study.folder.path, sites, trials, run_facts, folder)


def _exported(study: Study, folded: Folded, folder: Path) -> dict[str, Any]:
    """Write the folded network as ONNX; return the facts of the file, or the reason for its absence."""
    try:
        facts = export_onnx(study.network, folded.network, study.second.first(EXPORTED_IMAGES), folder / ONNX)
    except ExportError as error:
        facts = {"format": "onnx", "refusal": str(error)}
    tell("onnx", export_sentence(facts))
    return facts


def _refusal(
    study: Study, folded: Folded, found: Search | None, loss: Loss | None, worst: float, max_loss: float
) -> str:
    """Say why nothing is folded, "" if something is."""
    if loss is not None:
        allowed = tolerance_of(reference_tensor(study.network).dtype)
        if worst > allowed:
            deviation = f"outputs deviate by {worst:.1e} from the intervened network's on the held-out half"
            return f"{deviation}, {allowed:.0e} is allowed"
        if found is not None and loss.points > max_loss:
            return f"the set found on the search half {verdict_of(loss, max_loss, study.measure_name)}"
        return ""
    if found is not None and (reason := _too_few(len(study.first.units()), max_loss, study.metric)):
        return reason
    least = found.least_harmful if found else None
    if least is None:
        reasons = "; ".join(dict.fromkeys(item.reason for item in (study.possible or folded).sites if item.reason))
        return f"no site can be folded: {reasons}"
    return (
        f"no site can be folded within {max_loss:g} {least.loss.unit}: the least harmful, {least.sites[0]}, loses "
        f"{least.loss} of {study.measure_name} on {least.loss.images} images, and the upper limit decides"
    )


def _sites_table(study: Study, outcomes: Sequence[SiteFold]) -> pd.DataFrame:
    by_name = {name: SiteFold(name, study.sites[name].module, "untouched") for name in study.order}
    by_name |= {item.site: item for item in outcomes}
    rows = []
    for name in study.order:
        item = by_name[name]
        fixed = item.how in {"into layers", "fixed multiply"}
        rows.append((name, item.module, study.spread[name], fixed, item.how, " ".join(item.layers), item.reason))
    return pd.DataFrame(rows, columns=["site", "module", "image_sd", "fixed", "how", "layers", "reason"])


def _sizes(before: torch.nn.Module, after: torch.nn.Module) -> dict[str, int]:
    """Count parameters, and bytes as a safetensors file, before and after."""
    sizes = {}
    for name, network in (("before", before), ("after", after)):
        sizes[f"parameters_{name}"] = sum(item.numel() for item in network.parameters())
        state = {key: value.detach().cpu().contiguous().clone() for key, value in network.state_dict().items()}
        sizes[f"bytes_{name}"] = len(save(state, metadata={"format": "pt"}))
    return sizes
