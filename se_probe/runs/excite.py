"""From a network and images to a recording with figures, tables and a report, in one call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from signal import SIGINT
from typing import Any

import pandas as pd
import torch

from se_probe.ablation import Ablation, open_ablation
from se_probe.analysis import measure_tables, signal_tables, write_measures, write_tables
from se_probe.analysis.ablation import ablation_tables
from se_probe.analysis.branches import write_branch_tables
from se_probe.analysis.findings import findings
from se_probe.errors import InterruptedRun
from se_probe.gates import signals_of
from se_probe.io.files import writing
from se_probe.io.progress import progress_bar
from se_probe.io.urls import is_url
from se_probe.models import LoadedModel
from se_probe.recording import Execution, Ranks, Recording, ranks_of_environment, record
from se_probe.recording.remote import copy_up, require_free
from se_probe.recording.run_folder import RECORDING, RunFolder, choose_folder, latest_run, resume_command
from se_probe.runs.plan import (
    Plan,
    Say,
    batch_size_of,
    device_of,
    images_of,
    label_of,
    network_of,
    number_of_channels,
    plan_provenance,
    plan_run,
    warnings_of,
    workers_of,
)
from se_probe.runs.presets import Preset, preset_of

DEMO_MODEL = "demo:se"


def excite(
    classes: str | Sequence[str] | None = None,
    *,
    data: str | Path | None = None,
    demo: bool = False,
    model: str | torch.nn.Module | LoadedModel | None = None,
    checkpoint: str | Path | None = None,
    model_args: Mapping[str, object] | None = None,
    random_weights: bool = False,
    preset: str | None = None,
    per_class: int = 50,
    reference_per_class: int | None = None,
    seed: int = 0,
    capture: Sequence[str] = (),
    sites: Sequence[str] | None = None,
    channels: int | str | None = None,
    within: str | Sequence[str] | None = None,
    record_sites: Sequence[str] | None = None,
    batch_size: int | str = 32,
    workers: int | None = None,
    device: str | None = None,
    exact: bool = False,
    compile: bool = False,
    dtype: str | None = None,
    predictions: bool = True,
    device_decode: bool = False,
    name: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    report: bool = True,
    command: str = "se_probe.excite",
    say: Say = print,
    show_progress: bool = True,
) -> Recording:
    """Record a network's gates over images of some classes, and draw the SENet paper's "Role of Excitation".

    Args:
        classes: the classes to compare: indices, wnids or exact names, in a list or separated by commas; the
            paper's goldfish, pug, plane and cliff by default.
        data: folder, tar (as a path or a URL of fsspec's) or data set of labelled images (see `open_images`).
        demo: use the bundled drawings, and the bundled network unless `model` names another.
        model: a network by name (see `load_model`; default `legacy_seresnet50`), loaded already, or any
            `nn.Module`, whose preprocessing and labels are those of its `pretrained_cfg`.
        checkpoint: weights from a file; as `model_args` and `random_weights`, see `load_model`.
        model_args: arguments of the network's builder.
        random_weights: untrained weights, drawn from `seed`.
        preset: a paper's network, classes, sites and channels ("senet", "sknet", "eca"); what is given wins.
        per_class: number of images of each chosen class, at the most.
        reference_per_class: the same for every other class, for the curve of all classes; `per_class` by
            default, 0 for none.
        seed: decides which images are recorded where a class has more, and which channels are shown.
        capture: what to record beside the gates: "logit", "squeeze", "feature" (the feature map's spatial mean
            before and after the gate).
        sites: sites that the figures show; the last of each stage and all of the last stage by default.
        channels: number of channels that the figures show (50 by default), or "all".
        within: classes of the within-class figure; goldfish and plane, else the first two, by default.
        record_sites: sites that are recorded, all by default.
        batch_size: images in one forward pass, or "auto" for the fastest by a short measurement.
        workers: processes that decode images; a few by default.
        device: torch device; an accelerator by default, where there is one.
        exact: run the network as it is, so that gates equal bit for bit those of hooks on the plain network, and
            not a faster copy of it, whose gates are within 1e-5.
        compile: compile that copy, which pays on long runs; gates are within 1e-5.
        dtype: "float32" or "bfloat16"; the network's own by default. The deviation of gates is measured and kept.
        predictions: keep what the network predicts; else passes end after the last recorded site.
        device_decode: decode JPEGs where the network runs (nvJPEG on CUDA). Pixels differ from Pillow's; the
            deviation of gates is measured and kept.
        name: name of the run's folder below `reports/`; numbered where it is taken.
        out: the run's folder itself, in the place of `reports/<name>`; or a URL as fsspec knows them (`s3://...`), to
            which the run's folder is copied at the end, recording last.
        overwrite: replace a run that lies there already.
        resume: continue a run that was stopped, at `out` or the last of its name, with the same settings; batch
            size, workers and device may differ. Where none lies there, one is started.
        report: measure the gates, judge the paper's claims and write `report.html`.
        command: how the run was started; kept in the provenance.
        say: is given each line about what was resolved and written.
        show_progress: show a bar with the time left.

    Returns:
        The recording. Its folder holds `recording.zarr`, `figures/`, `tables/`, `run.json` and `report.html`.

    Raises:
        SeProbeError: an input cannot be used. Nothing was written, or the recording is marked as incomplete.
        InterruptedRun: the run was stopped by SIGINT or SIGTERM; the message says how it is continued.
    """
    with ranks_of_environment() as ranks:
        say, show_progress = (say, show_progress) if ranks.first else (_silent, False)
        with ranks.first_alone("plan"):
            preferred = preset_of(preset)
            execution = Execution(exact, compile, dtype, predictions, device_decode)
            shown = number_of_channels(preferred.channels if channels is None else channels)
            signals_of(capture)
            device, workers = ranks.device(device_of(device)), workers_of(workers)
            settings = {"device": device, "workers": workers, "batch_size": batch_size_of(batch_size)}
            demo = demo or (data is None and isinstance(model, str) and model.startswith("demo:"))
            wanted = model or (DEMO_MODEL if demo else preferred.model)
            url = str(out) if out is not None and is_url(out) else None
            if url and not (overwrite or resume):
                require_free(url, RECORDING)
            place = None if url else out
            folder = _folder(name or label_of(wanted), place, ranks, say, overwrite=overwrite, resume=resume)
            chosen = network_of(wanted, checkpoint, model_args, random_weights=random_weights, seed=seed)
            counts = per_class, per_class if reference_per_class is None else reference_per_class, seed
            images = images_of(data, chosen, demo=demo)
            plan = plan_run(chosen, images, classes or preferred.classes, counts, within, sites, say, record_sites)
            if preferred.note:
                say(f"preset    {preset}, {preferred.source}: {preferred.note}")
            beside = [signal for signal in capture if signal != "gate"]
            facts = {**settings, "batch_size": batch_size, **asdict(execution), "ranks": ranks.size, "capture": beside}
            provenance = plan_provenance(plan, command, {**facts, "preset": preset}, demo=demo)
            options = {"sites": sites or _preset_sites(plan, preferred, say), "channels": shown, "within": plan.within}
        with _resumable(command, folder, url):
            settings |= {"execution": execution, "capture": capture}
            shared: dict[str, Any] = {"show_progress": show_progress, "resume": resume, "ranks": ranks}
            recording = record_run(plan, folder, provenance, settings, say, **shared)
            if ranks.first:
                finish_run(recording, folder, {**options, "seed": seed}, say)
                if report:
                    write_analysis(recording, data=data if data is not None and is_url(data) else None, say=say)
                if url:
                    copy_up(folder.path, url, RECORDING)
                    say(f"copied    {folder.path} to {url}")
        return recording


def write_analysis(recording: Recording, *, data: str | Path | None = None, say: Say = print) -> Path:
    """Measure the gates of a recording, judge the paper's claims, and write tables and `report.html` into its folder.

    Args:
        recording: a recording with images of a chosen class.
        data: where the images lie now, if not where the recording says.
        say: is given each finding and each path.

    Returns:
        The report's path.

    Raises:
        SeProbeError: no image of a chosen class was recorded, or the folder cannot be written.
    """
    from se_probe.report import write_report
    from se_probe.runs.draw import draw_measures  # these two bring Matplotlib, for which the first image need not wait

    folder = RunFolder(recording.path.parent)
    tables = measure_tables(recording)
    paths = write_measures(tables, folder.tables)
    if any(site.branches > 1 or site.family == "split attention" for site in recording.sites):
        paths += write_branch_tables(recording, folder.tables, recording.provenance.get("cardinality"))
    for signal in recording.signals[1:]:
        paths += write_measures(signal_tables(recording.of(signal), signal), folder.tables)
    paths += draw_measures(recording, folder.path, tables)
    ablation = open_ablation(folder.path) if folder.ablation.exists() else None
    if ablation is not None:
        paths += write_interventions(ablation, folder, tables["site_specificity.csv"])
    found = findings(recording, tables, ablation=ablation)
    for finding in found:
        say(f"finding   {finding.verdict}: {finding.claim}\n          {finding.statement}")
    report = write_report(folder.path, findings=found, data=data)
    say("\n".join(f"wrote     {path}" for path in [*paths, report]))
    return report


def write_interventions(ablation: Ablation, folder: RunFolder, specificity: pd.DataFrame) -> list[Path]:
    """Write the tables and draw the figures of what interventions did; return the files."""
    from se_probe.runs.draw import draw_ablation

    costs = pd.read_csv(folder.costs) if folder.costs.is_file() else None
    tables = ablation_tables(ablation, costs)
    model = ablation.provenance["model"]
    words = f"{model['name']}, {model['weights']}{'' if ablation.complete else ' · INCOMPLETE RUN'}"
    drawn = draw_ablation(tables, folder.path, model=words, demo=ablation.demo, specificity=specificity)
    return [*write_measures(tables, folder.tables), *drawn]


def record_run(
    plan: Plan,
    folder: RunFolder,
    provenance: dict[str, Any],
    settings: dict[str, Any],
    say: Say,
    *,
    show_progress: bool,
    resume: bool = False,
    ranks: Ranks | None = None,
) -> Recording:
    """Record the gates of a planned run into its folder, from which an earlier run is removed unless it is resumed."""
    if not resume and (ranks is None or ranks.first):
        with writing(folder.path):
            folder.clear()
    total = len(plan.selection.entries)
    sites, selection, path = plan.discovery.sites, plan.selection, folder.recording
    with progress_bar("recording", total, shown=show_progress) as progress:
        told: dict[str, Any] = {"provenance": provenance, "say": say, "progress": progress}
        return record(plan.model, sites, selection, path, resume=resume, ranks=ranks, **told, **settings)


def _folder(label: str, out: str | Path | None, ranks: Ranks, say: Say, *, overwrite: bool, resume: bool) -> RunFolder:
    """Return the run's folder as rank 0 chooses it, and point out an earlier run that could be continued."""
    if ranks.first and out is None and not resume and (earlier := latest_run(label)) and RunFolder(earlier).stopped:
        say(f"note      {earlier} holds a run that was stopped before its end; --resume continues it")
    choose = partial(choose_folder, label, Path(out) if out else None, overwrite=overwrite, resume=resume)
    return RunFolder(Path(ranks.agree("folder", lambda: str(choose().path))))


def _silent(_line: str) -> None:
    """Say nothing: rank 0 talks for all."""


@contextmanager
def _resumable(command: str, folder: RunFolder, url: str | None) -> Iterator[None]:
    """Say how a run that is stopped from here on is continued."""
    try:
        yield
    except KeyboardInterrupt as error:
        number = error.signal if isinstance(error, InterruptedRun) else SIGINT
        message = f"{str(error) or 'stopped'}; continue with: {resume_command(command, folder, url)}"
        raise InterruptedRun(message, number) from None


def finish_run(recording: Recording, folder: RunFolder, options: dict[str, Any], say: Say) -> None:
    """Draw the figures of a recording and write its tables and `run.json`."""
    from se_probe.runs.draw import draw

    warnings = warnings_of(recording)
    for line in warnings:
        say(f"warning   {line}")
    figures = draw(recording, folder.path, **options)
    tables = write_tables(recording, folder.tables)
    facts = {**recording.provenance, "figures": options, "warnings": warnings, "complete": True}
    say("\n".join(f"wrote     {path}" for path in [folder.recording, *figures, *tables, folder.write_facts(facts)]))


def _preset_sites(plan: Plan, preset: Preset, say: Say) -> list[str] | None:
    """Return the sites of a preset where the network has them all; another network shows its own."""
    if preset.sites is None:
        return None
    names = {site.name for site in plan.discovery.sites}
    if not names.issuperset(preset.sites):
        say(f"note      the preset's sites {', '.join(preset.sites)} are not all in this network; the default is shown")
        return None
    return list(preset.sites)
