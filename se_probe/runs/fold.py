"""From a network and images to a folded network: which gates may be constants, what that costs, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save

from se_probe.analysis.sampling import select_sites
from se_probe.errors import SeProbeError
from se_probe.folding.evaluation import halves, reference_tensor
from se_probe.folding.loss import Loss, images_for, least_limit
from se_probe.folding.plan import tolerance_of
from se_probe.folding.result import FoldRun, timing_sentence, trials_table, verdict_of
from se_probe.folding.saved import builder_of, write_folded
from se_probe.folding.search import Search
from se_probe.folding.study import Study
from se_probe.folding.surgery import Folded, SiteFold
from se_probe.gates import discover, require_gates
from se_probe.images import ImageSet, select
from se_probe.io.files import write_csv
from se_probe.io.progress import progress_bar
from se_probe.models import LoadedModel
from se_probe.recording.run_folder import FOLDED, choose_folder
from se_probe.runs.plan import (
    Plan,
    Say,
    check_batch,
    describe_gates,
    device_of,
    images_of,
    label_of,
    network_of,
    plan_provenance,
    workers_of,
)

DEMO_MODEL, MODEL = "demo:se", "legacy_seresnet50"
PROBE_IMAGES = 4
MAX_LOSS = 0.5


def fold(
    *,
    data: str | Path | None = None,
    demo: bool = False,
    model: str | torch.nn.Module | LoadedModel | None = None,
    checkpoint: str | Path | None = None,
    model_args: Mapping[str, object] | None = None,
    random_weights: bool = False,
    max_loss: float = MAX_LOSS,
    sites: Sequence[str] | None = None,
    classes: str | Sequence[str] | None = None,
    per_class: int = 50,
    seed: int = 0,
    batch_size: int = 32,
    workers: int | None = None,
    device: str | None = None,
    name: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    command: str = "se_probe.fold",
    say: Say = print,
    show_progress: bool = True,
) -> FoldRun:
    """Replace gates that hardly move by constants, fold these into neighbouring layers, and save the network.

    One half of the images gives the constants (mean gates), the order of the sites (by the standard deviation of
    their gates) and the largest set whose loss is allowed; there the upper limit of the loss's interval decides. The
    other half confirms: nothing is saved where the loss measured on it is above `max_loss`.

    Args:
        data, demo, model, checkpoint, model_args, random_weights, batch_size, workers, device, name, out, overwrite,
            command, say, show_progress: as in `excite`.
        max_loss: allowed loss of top-1 accuracy in percentage points; of agreement with the untouched network where
            that has no accuracy to lose on these labels.
        sites: fold these and search for none; the loss is measured, and does not stop it.
        classes: the classes whose images are taken, all of the data by default.
        per_class: number of images of each, at the most.
        seed: decides which images are taken, and which half each is in.

    Returns:
        The run. Its folder holds `recording.zarr` (moments of the first half), `tables/`, `run.json` and, where
        something was folded, `folded/` with `model.safetensors`, `folded.json` and `load.py`.

    Raises:
        SeProbeError: an input cannot be used.
    """
    check_batch(batch_size)
    if not max_loss > 0:
        raise SeProbeError(f"a loss of {max_loss:g} points is allowed; expected a number above 0, such as {MAX_LOSS}.")
    settings = {"device": device_of(device), "batch_size": batch_size, "workers": workers_of(workers)}
    demo = demo or (data is None and isinstance(model, str) and model.startswith("demo:"))
    wanted = model or (DEMO_MODEL if demo else MODEL)
    folder = choose_folder(name or f"fold-{label_of(wanted)}", Path(out) if out else None, overwrite=overwrite)
    builder = builder_of(wanted, model_args)
    chosen = network_of(wanted, checkpoint, model_args, random_weights=random_weights, seed=seed)
    plan = _plan(chosen, images_of(data, chosen, demo=demo), classes, (per_class, seed), sites, say)
    wishes = {"max_loss": max_loss, "sites": list(sites) if sites else None}
    provenance = plan_provenance(plan, command, {**settings, **wishes}, demo=demo)
    if provenance["demo"]:
        say("note      demo: drawn stimuli or a demo network, no finding about photographs")
    folder.clear()
    parts = halves(plan.selection, seed)
    with progress_bar("recording", len(parts[0].entries), shown=show_progress) as progress:
        study = Study(plan.model, plan.discovery.sites, parts, folder, provenance, settings, progress)
    found = None if sites else study.search(max_loss, say)
    folded = study.folded(list(sites or (found.chosen if found else ())))
    return _finish(study, folded, found, builder, max_loss, say)


def _plan(
    model: LoadedModel,
    images: ImageSet,
    classes: str | Sequence[str] | None,
    counts: tuple[int, int],
    sites: Sequence[str] | None,
    say: Say,
) -> Plan:
    say(f"model     {model.name}: {model.weights} (sha256 {model.weights_sha256[:12]})")
    discovery = discover(model.network, model.input_size)
    require_gates(model.name, discovery)
    select_sites(discovery.sites, sites)
    say(f"gates     {describe_gates(discovery)}")
    chosen = images.classes if classes is None else [item.image_class for item in images.labels.resolve_all(classes)]
    per_class, seed = counts
    selection = select(images, chosen, per_class=per_class, reference_per_class=0, seed=seed)
    say(f"data      {images.title}: {len(selection.entries)} images of {len(chosen)} classes, in two halves")
    return Plan(model, discovery, selection, [])


def _finish(
    study: Study, folded: Folded, found: Search | None, builder: dict[str, Any], max_loss: float, say: Say
) -> FoldRun:
    """Confirm, judge, and write what there is to write."""
    loss, worst = study.confirm(folded) if folded.fixed else (None, 0.0)
    refusal = _refusal(study, folded, found, loss, worst, max_loss)
    facts: dict[str, Any] = {
        "measure": study.measure_name,
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
    paths: list[Path] = []
    if not refusal:
        timing = study.timing(folded)
        facts |= {"timing": asdict(timing), "size": _sizes(study.network, folded.network)}
        say(f"latency   {timing_sentence(timing)}")
        paths = write_folded(study.folder.path / FOLDED, folded, builder, {"fold": facts, **study.provenance})
    say(f"refused   {refusal}" if refusal else f"folded    {len(folded.fixed)} sites, {facts['verdict']}")
    sites = _sites_table(study, () if refusal else folded.sites)
    trials = trials_table(found.trials if found else ())
    for name, table in {"fold_sites.csv": sites, "fold_trials.csv": trials}.items():
        write_csv(table, study.folder.tables / name)
        paths.append(study.folder.tables / name)
    paths.append(study.folder.write_facts({**study.provenance, "fold": facts, "complete": True}))
    say("\n".join(f"wrote     {path}" for path in paths))
    run_facts = {**study.provenance, "fold": facts}
    return FoldRun(study.folder.path, sites, trials, run_facts, None if refusal else study.folder.path / FOLDED)


def _refusal(
    study: Study, folded: Folded, found: Search | None, loss: Loss | None, worst: float, max_loss: float
) -> str:
    """Return why nothing is folded, "" where something is."""
    if loss is None:
        return _nothing_allowed(study, folded, found, max_loss)
    allowed = tolerance_of(reference_tensor(study.network).dtype)
    if worst > allowed:
        return (
            f"outputs deviate by {worst:.1e} from the intervened network's on the held-out half, {allowed:.0e} is "
            "allowed"
        )
    if found is not None and loss.points > max_loss:
        return f"the set found on the search half {verdict_of(loss, max_loss, study.measure_name)}"
    return ""


def _nothing_allowed(study: Study, folded: Folded, found: Search | None, max_loss: float) -> str:
    """Say why no site is fixed: too few images to tell, none that surgery can change, or all too costly."""
    images = len(study.first.units())
    floor = least_limit(images)
    if found is not None and floor > max_loss:
        return (
            f"with {images} images to search on, a loss of {floor:.2f} points is not excluded even where no image "
            f"changes sides; {images_for(max_loss)} are needed for {max_loss:g} points: give more (--per-class), or "
            "allow more (--max-loss)"
        )
    least = found.least_harmful if found else None
    if least is None:
        reasons = "; ".join(dict.fromkeys(item.reason for item in (study.possible or folded).sites if item.reason))
        return f"no site can be folded: {reasons}"
    return (
        f"no site can be folded within {max_loss:g} points: the least harmful, {least.sites[0]}, loses {least.loss} of "
        f"{study.measure_name} on {least.loss.images} images, and the upper limit decides"
    )


def _sites_table(study: Study, outcomes: Sequence[SiteFold]) -> pd.DataFrame:
    by_name = {item.site: item for item in outcomes}
    rows = []
    for name in study.order:
        item = by_name.get(name, SiteFold(name, study.sites[name].module, "untouched"))
        fixed = item.how in {"into layers", "fixed multiply"}
        rows.append((name, item.module, study.spread[name], fixed, item.how, " ".join(item.layers), item.reason))
    return pd.DataFrame(rows, columns=["site", "module", "image_sd", "fixed", "how", "layers", "reason"])


def _sizes(before: torch.nn.Module, after: torch.nn.Module) -> dict[str, int]:
    """Parameters and bytes of the weights as a safetensors file, before and after."""
    sizes = {}
    for name, network in (("before", before), ("after", after)):
        sizes[f"parameters_{name}"] = sum(item.numel() for item in network.parameters())
        state = {key: value.detach().cpu().contiguous().clone() for key, value in network.state_dict().items()}
        sizes[f"bytes_{name}"] = len(save(state, metadata={"format": "pt"}))
    return sizes
