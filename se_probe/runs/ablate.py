"""From a network and images to what its gates are worth: a recording, interventions, tables, figures and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from se_probe.ablation import (
    Ablation,
    SiteGroup,
    class_mean_gates,
    mean_gates,
    measure,
    open_ablation,
    plan_interventions,
)
from se_probe.ablation.measure import Labels, passes_of
from se_probe.ablation.planning import SCOPES
from se_probe.ablation.replacing import ReplacementSpec, parse_replacement
from se_probe.ablation.results import STORE_NAME, AblationWriter
from se_probe.ablation.sources import donated, gather_gates, shuffled, swapped
from se_probe.costs import cost_table
from se_probe.errors import SeProbeError
from se_probe.gates import Replacement
from se_probe.images import ImageSet, Selection
from se_probe.io.files import write_csv
from se_probe.io.progress import progress_bar
from se_probe.labels import ImageClass
from se_probe.models import LoadedModel
from se_probe.recording import Recording, open_recording
from se_probe.recording.memory import keep_freed_memory
from se_probe.recording.run_folder import RunFolder, choose_folder
from se_probe.runs.excite import DEMO_MODEL, finish_run, record_run, write_analysis
from se_probe.runs.plan import (
    Plan,
    Say,
    check_batch,
    device_of,
    images_of,
    label_of,
    network_of,
    plan_provenance,
    plan_run,
    require_one_process,
    workers_of,
)
from se_probe.runs.presets import preset_of

MOST_SHOWN = 4


def ablate(
    classes: str | Sequence[str] | None = None,
    *,
    replacement: str = "identity",
    sites: Sequence[str] | None = None,
    gates_from: str | Path | None = None,
    data: str | Path | None = None,
    demo: bool = False,
    model: str | torch.nn.Module | LoadedModel | None = None,
    checkpoint: str | Path | None = None,
    model_args: Mapping[str, object] | None = None,
    random_weights: bool = False,
    per_class: int = 50,
    reference_per_class: int | None = None,
    seed: int = 0,
    batch_size: int = 32,
    workers: int | None = None,
    device: str | None = None,
    name: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    report: bool = True,
    command: str = "se_probe.ablate",
    say: Say = print,
    show_progress: bool = True,
) -> Ablation:
    """Measure what replacing gates does to a network's predictions, on the same images with and without.

    The gates are recorded first, over the images that are then measured: all of the selection, those of the chosen
    classes and those of every other class.

    Args:
        classes: classes whose gates the figures and the report show; by default those of the paper's goldfish, pug,
            plane and cliff that the data have, else the first four.
        replacement: what stands in the place of gates. "identity": 1, or 1/M for M branches; "mean": the site's mean
            gate; "class-mean": that of the image's class; "shuffle": the gates of another image, drawn at random;
            "swap:A,B": for images of two classes the gates of an image of the other; "scale:FACTOR";
            "branch:NUMBER": one branch alone, from 0.
        sites: "each" (every site alone), "cumulative" (from the last site backwards) and "stages", all three by
            default, or names of sites, which are changed at once.
        gates_from: a run whose recording gives the means, in the place of this run's own.
        data, demo, model, checkpoint, model_args, random_weights, per_class, reference_per_class, seed, batch_size,
            workers, device, name, out, overwrite, report, command, say, show_progress: as in `excite`.

    Returns:
        The outcomes. The run's folder holds what `excite` leaves there and `ablation.zarr`.

    Raises:
        SeProbeError: an input cannot be used. What was recorded and measured is kept, marked as incomplete.

    Source: SENet (arXiv 1709.01507), "Role of Excitation", which concludes from the gates that the last stage's
    blocks matter less; here it is measured.
    """
    require_one_process("an intervention")
    wanted = parse_replacement(replacement)
    settings = {"device": device_of(device), "batch_size": batch_size, "workers": workers_of(workers)}
    check_batch(batch_size)
    demo = demo or (data is None and isinstance(model, str) and model.startswith("demo:"))
    network = model or (DEMO_MODEL if demo else preset_of(None).model)
    label = f"ablate-{label_of(network)}-{replacement}"
    folder = choose_folder(name or label, Path(out) if out else None, overwrite=overwrite)
    loaded = network_of(network, checkpoint, model_args, random_weights=random_weights, seed=seed)
    images = images_of(data, loaded, demo=demo)
    counts = per_class, per_class if reference_per_class is None else reference_per_class, seed
    plan = plan_run(loaded, images, classes or shown_classes(images), counts, None, None, say)
    interventions = _fitting(plan_interventions(plan.discovery.sites, sites or SCOPES), wanted)
    pair = _pair(images, wanted)
    other = _open_gates(gates_from, plan) if gates_from is not None else None
    say(f"replace   {replacement}: {len(interventions)} interventions, {passes_of(interventions)} passes an image")
    facts = {**settings, "replacement": replacement, "intervened": list(sites or SCOPES)}
    provenance = plan_provenance(plan, command, facts, demo=demo)
    recording = record_run(plan, folder, provenance, settings, say, show_progress=show_progress)
    finish_run(recording, folder, {"within": plan.within, "seed": seed}, say)
    _write_costs(plan, folder)
    run = _Run(plan, wanted, pair, seed, batch_size, workers_of(workers), show_progress)
    provenance |= {"replacement": replacement, "gates_from": _origin(wanted, other)}
    path = _measure(run, interventions, other or recording, folder.path / STORE_NAME, provenance)
    say(f"wrote     {path}")
    if report:
        write_analysis(recording, say=say)
    return open_ablation(path)


def _write_costs(plan: Plan, folder: RunFolder) -> None:
    """Write what the gates cost, which the report sets against what replacing them costs."""
    costs = cost_table(plan.model.network, plan.discovery.sites, plan.model.input_size)
    write_csv(costs.assign(multiply_adds=costs["excitation"]), folder.costs)


@dataclass(frozen=True)
class _Run:
    """What is measured, and how."""

    plan: Plan
    wanted: ReplacementSpec
    pair: tuple[ImageClass, ImageClass] | None
    seed: int
    batch_size: int
    workers: int
    show_progress: bool

    @property
    def selection(self) -> Selection:
        """The images; only those of the two classes whose gates are swapped, where they are."""
        selection = self.plan.selection
        if self.pair is None:
            return selection
        return replace(
            selection, entries=tuple(entry for entry in selection.entries if entry.sample.image_class in self.pair)
        )


@keep_freed_memory()
def _measure(
    run: _Run, interventions: Sequence[SiteGroup], recording: Recording, path: Path, provenance: dict[str, Any]
) -> Path:
    replacements, label = _replacements(run, interventions, recording)
    selection = run.selection
    total = len(selection.entries) * passes_of(interventions)
    with (
        AblationWriter(path, interventions, run.wanted.text, selection, provenance) as writer,
        progress_bar("intervening", total, shown=run.show_progress) as progress,
    ):
        for measured in measure(
            run.plan.model,
            run.plan.discovery.sites,
            interventions,
            replacements,
            selection,
            label=label,
            batch_size=run.batch_size,
            workers=run.workers,
            progress=progress,
        ):
            writer.add(measured)
    return path


def _replacements(
    run: _Run, interventions: Sequence[SiteGroup], recording: Recording
) -> tuple[Mapping[str, Replacement], Labels | None]:
    """Return what stands in the place of each site's gate, and the label of each image where that matters."""
    entries = run.selection.entries
    match run.wanted.kind:
        case "mean":
            return mean_gates(recording), None
        case "class-mean":
            return class_mean_gates(recording), lambda place: entries[place].sample.image_class.name
        case "shuffle" | "swap":
            return _of_other_images(run, interventions), str
    assert run.wanted.replacement is not None
    return dict.fromkeys(_changed(interventions), run.wanted.replacement), None


def _of_other_images(run: _Run, interventions: Sequence[SiteGroup]) -> Mapping[str, Replacement]:
    selection, names = run.selection, _changed(interventions)
    sites = [site for site in run.plan.discovery.sites if site.name in names]
    with progress_bar("gathering gates", len(selection.entries), shown=run.show_progress) as progress:
        places, gates = gather_gates(
            run.plan.model, sites, selection, batch_size=run.batch_size, workers=run.workers, progress=progress
        )
    if run.pair is None:
        return donated(gates, places, shuffled(places, run.seed))
    classes = {place: selection.entries[place].sample.image_class for place in places}
    return donated(gates, places, swapped(classes, run.pair, run.seed))


def _changed(interventions: Sequence[SiteGroup]) -> list[str]:
    return list(dict.fromkeys(name for item in interventions for name in item.site_names))


def _fitting(interventions: Sequence[SiteGroup], wanted: ReplacementSpec) -> list[SiteGroup]:
    """Return the interventions of which every site can be replaced so."""
    fitting = [item for item in interventions if all(map(wanted.fits, item.sites))]
    if not fitting:
        raise SeProbeError(
            f"{wanted.text} fits none of the sites {', '.join(_changed(interventions))}; choose sites whose branches "
            "compete and have that branch, or another replacement."
        )
    return fitting


def _pair(images: ImageSet, wanted: ReplacementSpec) -> tuple[ImageClass, ImageClass] | None:
    if wanted.classes is None:
        return None
    first, second = (item.image_class for item in images.labels.resolve_all(wanted.classes))
    return first, second


def _open_gates(run: str | Path, plan: Plan) -> Recording:
    """Open a recording of the very network, whose means are to stand in the place of its gates."""
    recording = open_recording(run)
    recorded = recording.provenance["model"]
    if recorded["weights_sha256"] != plan.model.weights_sha256:
        raise SeProbeError(
            f"{run} holds gates of {recorded['name']} with weights {recorded['weights_sha256'][:12]}, and the network "
            f"is {plan.model.name} with weights {plan.model.weights_sha256[:12]}; give a recording of this network."
        )
    return recording


def _origin(wanted: ReplacementSpec, other: Recording | None) -> str | None:
    """Return in words where the replaced gates come from, None where they come from no images."""
    if wanted.kind in {"mean", "class-mean"}:
        return "this run's own recording, of the same images" if other is None else str(other.path.resolve())
    return "the same images" if wanted.kind in {"shuffle", "swap"} else None


def shown_classes(images: ImageSet) -> list[str]:
    """Return those of the paper's classes that have images, else the first few classes of the data."""
    found = []
    for name in preset_of(None).classes.split(","):
        with suppress(SeProbeError):
            found += [item for item in [images.labels.resolve(name).image_class] if item in images.counts]
    return [item.wnid or item.name for item in found or images.classes[:MOST_SHOWN]]
