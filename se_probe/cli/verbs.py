"""Commands that run a network or compare runs, and how each prints its result."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from se_probe.cli.commands import AsJson, OpenReport, shows
from se_probe.cli.terminal import Terminal, number, print_json, table
from se_probe.runs.settings import (
    AblateSettings,
    ChangeSettings,
    CompareSettings,
    CostSettings,
    ExciteSettings,
    FoldSettings,
    LookSettings,
    MapsSettings,
    ScaleSettings,
)

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from se_probe.ablation import Ablation
    from se_probe.costs import GateCost, NetworkCost
    from se_probe.folding.result import FoldRun
    from se_probe.recording import Recording
    from se_probe.runs.change import ChangeRun
    from se_probe.runs.cost import CostReport
    from se_probe.runs.look import Look
    from se_probe.runs.maps import MapRun
    from se_probe.runs.recorded import RunRecording
    from se_probe.runs.scale import ScaleRun

REPORT = "report.html"
NOTHING_FOLDED = 3


@shows(
    ExciteSettings,
    "se-probe excite --demo",
    "se-probe excite --classes goldfish,pug,plane,cliff --data imagenet/val",
    "se-probe excite --model torchvision:efficientnet_b0 --data imagenetv2",
    "se-probe excite --model mine.py:net --data val --checkpoints 'run/epoch-*.pt'",
    as_json=AsJson,
    open_report=OpenReport,
)
def _excite(recording: RunRecording, shown: Terminal) -> Path:
    folder = recording.run_folder
    if shown.as_json:
        print_json(
            {
                "run": str(folder),
                "recording": str(recording.path),
                "sites": [site.name for site in recording.sites],
                "classes": recording.chosen,
                "images": len(recording.images),
                "skipped": len(recording.skipped),
                "files": sorted(str(path) for part in ("figures", "tables") for path in (folder / part).glob("*")),
            }
        )
    elif shown.verbose:
        shown.print(_site_spreads(recording))
    return folder / REPORT


def _site_spreads(recording: Recording) -> Table:
    from se_probe.analysis import site_table

    names = ("mean", "channel_sd", "between_class_sd", "within_class_sd", "lowest", "highest")
    rows = [
        (row["site"], row["channels"] * row["branches"], *(f"{row[name]:.3f}" for name in names))
        for row in site_table(recording).to_dict("records")
    ]
    columns = ("site", "channels", "mean", "sd channels", "sd classes", "sd images", "lowest", "highest")
    return table(columns, rows, title="Gates by site: mean, spread (sd), range of class means")


@shows(
    AblateSettings,
    "se-probe ablate --demo --with mean",
    "se-probe ablate --demo --sites SE_5_2,SE_5_3",
    as_json=AsJson,
    open_report=OpenReport,
)
def _ablate(ablation: Ablation, shown: Terminal) -> Path:
    import pandas as pd

    folder = ablation.path.parent
    path = folder / "tables" / "ablation_sites.csv"
    rows = pd.read_csv(path) if path.exists() else None
    if shown.as_json:
        interventions = [] if rows is None else json.loads(rows.to_json(orient="records"))
        print_json({"run": str(folder), "interventions": interventions})
    elif rows is not None:
        shown.print(_own_losses(rows) if "metric" in rows else _losses(rows))
    return folder / REPORT


def _losses(rows: pd.DataFrame) -> Table:
    """Return the cost of each intervention, with 95 % limits."""
    columns = ("intervention", "top-1, points", "NLL, nats", "same choice, %")
    cells = [
        (
            row["intervention"],
            _limited(row["top1_change"], row["top1_ci_low"], row["top1_ci_high"], 100, "+z.1f"),
            _limited(row["nll_change"], row["nll_ci_low"], row["nll_ci_high"], 1, "+z.3f"),
            _limited(row["agreement"], row["agreement_ci_low"], row["agreement_ci_high"], 100, ".1f"),
        )
        for row in rows.to_dict("records")
    ]
    first = rows.iloc[0]
    clean = "" if isnan(first["clean_top1"]) else f"; untouched: top-1 {100 * first['clean_top1']:.1f} %"
    return table(columns, cells, f"{first['replacement']}, {first['images']} images [95 % interval]{clean}")


def _own_losses(rows: pd.DataFrame) -> Table:
    """Return the cost of each intervention by the user's own metric, with 95 % limits."""
    from se_probe.analysis.outcomes import cost_of

    first, cost = rows.iloc[0], cost_of(rows)
    cells = [
        (row["intervention"], _limited(row["metric_change"], row["metric_ci_low"], row["metric_ci_high"], 1, "+z.4g"))
        for row in rows.to_dict("records")
    ]
    images = f"{first['labelled']} images [95 % interval]"
    title = f"{first['replacement']}, {images}; untouched: {first['clean_metric']:.4g}"
    return table(("intervention", f"change of {cost.in_unit}"), cells, title)


def _limited(value: float, low: float, high: float, factor: float, form: str) -> str:
    if isnan(value):
        return "–"
    limits = "" if isnan(low) else f" [{factor * low:{form}}, {factor * high:{form}}]"
    return f"{factor * value:{form}}{limits}"


@shows(
    FoldSettings,
    "se-probe fold --demo",
    "se-probe fold --model legacy_seresnet50 --data imagenet/val --max-loss 0.5",
    as_json=AsJson,
)
def _fold(result: FoldRun, shown: Terminal) -> None:
    sites = result.sites.to_dict("records")
    if shown.as_json:
        facts: dict[str, Any] = {"run": str(result.path), "folded": str(result.folder) if result.folder else None}
        print_json({**facts, "fixed": result.fixed, **result.facts["fold"], "sites": sites})
    else:
        rows = [(row["site"], f"{row['image_sd']:.4f}", row["how"], row["layers"], row["reason"]) for row in sites]
        shown.print(table(("site", "sd images", "how", "layers", "reason"), rows, "Sites by staticness"))
    if result.folder is None:
        raise typer.Exit(NOTHING_FOLDED)


@shows(ScaleSettings, "se-probe scale --demo", "se-probe scale --data imagenet/val --scales 1,1.5,2")
def _scale(run: ScaleRun, shown: Terminal) -> None:
    shown.line("run", str(run.path))


@shows(
    ChangeSettings,
    "se-probe change --demo",
    "se-probe change --data imagenet/val --change noise:1,3,5 --change mine.py:fog:0.5",
    open_report=OpenReport,
)
def _change(run: ChangeRun, shown: Terminal) -> Path:
    shown.line("run", str(run.path))
    return run.path / REPORT


@shows(
    MapsSettings,
    "se-probe maps reports/demo-se",
    "se-probe maps reports/demo-se --sites SE_4_2 --channels 3,17",
    as_json=AsJson,
    open_report=OpenReport,
)
def _maps(run: MapRun, shown: Terminal) -> Path:
    rows = run.faithfulness.to_dict("records")
    if shown.as_json:
        print_json({"run": str(run.path), "sites": rows})
    else:
        columns = ("site", "highest − random", "lowest − random", "sd of logits", "better than random")
        title = f"Logits moved by masked pixels, {rows[0]['images']} images [95 % interval]"
        shown.print(table(columns, map(_map_cells, rows), title))
    return run.path / REPORT


def _map_cells(row: Mapping[Any, Any]) -> tuple[str, ...]:
    differences = [
        _limited(row[f"{end}_minus_random"], row[f"{end}_ci_low"], row[f"{end}_ci_high"], 1, "+.2f")
        for end in ("highest", "lowest")
    ]
    return (row["site"], *differences, f"{row['logit_sd']:.2f}", "yes" if row["better_than_random"] else "no")


@shows(CompareSettings, "se-probe compare reports/one reports/two", open_report=OpenReport)
def _compare(page: Path, shown: Terminal) -> Path:
    return page


@shows(
    LookSettings,
    "se-probe look demo/goldfish/0000 --model demo:se",
    "se-probe look cat.jpg dog.jpg --against reports/legacy_seresnet50 --out look",
    as_json=AsJson,
)
def _look(look: Look, shown: Terminal) -> None:
    if shown.as_json:
        print_json(look.to_dict())
        return
    for image, path in enumerate(look.images):
        shown.line("image", path)
        shown.line("answer", look.answer(image))
        if look.unusual is not None:
            shown.line("gates", look.unusual.sentence(image))
        shown.print(_notable(look.shown(image)))


def _notable(rows: pd.DataFrame) -> Table:
    """Return the gates shown of an image."""
    against = "mean" if "sd" in rows else "reference"
    columns = {"site": "", "branch": "", "channel": "", "gate": ".3f", "reference": ".3f", "deviation": "+.1f"}
    columns |= {"effect": "+.3f", "word": "", "evidence": ""}
    if rows["branches"].max() == 1:
        del columns["branch"]
    forms = {name: form for name, form in columns.items() if name in rows and rows[name].notna().any()}
    titles = [{"reference": against, "deviation": "SDs"}.get(name, name) for name in forms]
    cells = [[number(row[name], form) for name, form in forms.items()] for row in rows.to_dict("records")]
    return table(titles, cells, f"effect: change of the first answer's logit if the gate were the {against}")


@shows(
    CostSettings, "se-probe cost demo:se", "se-probe cost legacy_seresnet50 --no-time --reductions 4,16", as_json=AsJson
)
def _cost(report: CostReport, shown: Terminal) -> None:
    if shown.as_json:
        print_json(report.to_dict())
        return
    shown.print(_site_costs(report))
    if len(report.sweep):
        shown.print("")
        shown.print(_sweep(report))
    shown.print("")
    for sentence in report.sentences():
        shown.print(sentence)


def _site_costs(report: CostReport) -> Table:
    columns = ("site", "C", "r", "2C²/r", "parameters", "share", "squeeze", "excitation", "scale", "share")
    rows = [
        (
            row["site"],
            f"{row['branches']}×{row['channels']}" if row["branches"] > 1 else row["channels"],
            number(row["reduction"], ".4g"),
            number(row["formula_parameters"]),
            *_shares(report.cost, item),
        )
        for row, item in zip(report.table().to_dict("records"), report.cost.site_costs, strict=True)
    ]
    total = ("all", "", "", number(report.cost.formula_parameters), *_shares(report.cost, report.cost.gates))
    return table(columns, [*rows, total], f"{report.name}: gates, and their share of the network")


def _shares(network: NetworkCost, item: GateCost) -> Iterator[str]:
    yield number(item.parameters)
    yield f"{100 * item.parameters / network.parameters:.2f} %"
    for part in (item.squeeze, item.excitation, item.scale):
        yield number(part)
    yield f"{100 * item.operations / network.operations:.2f} %"


def _sweep(report: CostReport) -> Table:
    columns = ("r", "gates", "(2/r) Σ C²", "network", "increase", "multiply-adds", "operations increase")
    rows = [
        (
            row["reduction"],
            number(row["gate_parameters"]),
            number(row["formula_parameters"]),
            number(row["parameters"]),
            f"+{100 * row['parameters_increase']:.2f} %",
            number(row["multiply_adds"]),
            f"+{100 * row['operations_increase']:.2f} %",
        )
        for row in report.sweep.to_dict("records")
    ]
    swept, sites = int(report.sweep["sites"].iloc[0]), len(report.cost.sites)
    own = ", ".join(f"{ratio:g}" for ratio in report.sweep.loc[report.sweep["current"], "reduction"])
    title = f"By reduction ratio r, {swept} of {sites} sites" + f"; the network's own is {own}" * bool(own)
    return table(columns, rows, title)
