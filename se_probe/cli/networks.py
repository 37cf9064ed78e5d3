"""Commands on networks: the gates of one, and the pretrained networks that have some."""

from __future__ import annotations

from typing import Annotated

import typer

from se_probe.cli.app import app
from se_probe.cli.commands import AsJson, with_examples
from se_probe.cli.output import table
from se_probe.cli.terminal import console, print_json
from se_probe.errors import SeProbeError
from se_probe.runs.shared_settings import ArchitectureSettings

_HELP = {item.name: item.help for item in ArchitectureSettings.options()}


@app.command(cls=with_examples(("se-probe gates demo:sk", "se-probe gates efficientnet_b0 --json")))
def gates(
    model: Annotated[str, typer.Argument(metavar="NAME", help="A network, named as in excite --model.")],
    model_arg: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help=_HELP["model_args"])] = None,
    input_size: Annotated[int | None, typer.Option(metavar="N", help=_HELP["input_size"])] = None,
    as_json: AsJson = False,
) -> None:
    """Print where a network multiplies channels by gates. No weights are needed, and none are downloaded."""
    from se_probe.gates import discover, require_gates
    from se_probe.models import load_architecture, parse_model_args
    from se_probe.runs.plan import describe_gates

    settings = ArchitectureSettings(model_args=parse_model_args(model_arg or []), input_size=input_size)
    loaded = load_architecture(model, model_args=settings.model_args)
    size = (loaded.input_size[0], input_size, input_size) if input_size else loaded.input_size
    discovery = discover(loaded.network, size)
    require_gates(loaded.name, discovery)
    if as_json:
        print_json([site.to_dict() for site in discovery.sites])
        return
    columns = ("site", "module", "family", "stride", "channels", "branches", "activation", "r")
    rows = [
        (s.name, s.module, s.family, s.stride, s.channels, s.branches, s.activation, _ratio(s.reduction))
        for s in discovery.sites
    ]
    output = console()
    output.print(table(columns, rows, title=loaded.name))
    output.print(describe_gates(discovery), markup=False)
    for item in discovery.left_out:
        output.print(str(item), markup=False)


@app.command(cls=with_examples(("se-probe models", "se-probe models skres")))
def models(
    pattern: Annotated[
        str | None, typer.Argument(metavar="PATTERN", help="Part of a name, or a pattern with * and ?.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the pretrained networks of timm and torchvision that have gates. Nothing is downloaded."""
    from se_probe.models.catalog import catalog

    found = catalog(pattern)
    if not found.entries:
        raise SeProbeError(
            f"no pretrained network with gates matches {pattern!r} ({found.without_gates} without gates do); "
            "try a shorter part of the name."
        )
    for name, reason in found.unexamined.items():
        console(stderr=True).print(f"not examined: {name}: {reason}", markup=False)
    if as_json:
        print_json(
            [{"name": e.spec, "family": e.family, "gates": e.gates, "weights": list(e.weights)} for e in found.entries]
        )
        return
    rows = [(e.spec, e.family, e.gates, ", ".join(e.weights)) for e in found.entries]
    output = console()
    output.print(table(("network", "family", "gates", "weights"), rows))
    output.print(
        f"{len(rows)} networks with gates; {found.without_gates} others that match have none"
        f"{f', {len(found.unexamined)} could not be examined' if found.unexamined else ''}"
    )


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
