"""Make the command of a verb from its settings: options, help, and how its result is shown."""

from __future__ import annotations

import inspect
import shlex
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from se_probe.cli.app import app
from se_probe.cli.help import Command
from se_probe.cli.terminal import Terminal, open_page, terminal
from se_probe.io.progress import status
from se_probe.runs.options import Option, Settings

Show = Callable[[Any, Terminal], Path | None]

Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show full statements and the path of every file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
OpenReport = Annotated[bool, typer.Option("--open", help="Open the report in the browser.")]


def shows(settings: type[Settings], *examples: str, **flags: Any) -> Callable[[Show], Show]:
    """Add the command of a verb; the decorated function shows its result and returns the page that --open opens.

    Args:
        settings: the verb's settings, whose docstring is the help.
        examples: command lines for the help.
        flags: further flags of the command, by name: their annotations.
    """
    name = settings.verb()
    options = settings.options()
    flags = {"verbose": Verbose, **flags}

    def decorate(show: Show) -> Show:
        def command(context: typer.Context, **given: Any) -> None:
            chosen = {key: given.pop(key) for key in flags}
            open_report = chosen.pop("open_report", False)
            _forget_environment(context, given)
            if any(item.name == "command" for item in options):
                given["command"] = shlex.join(["se-probe", *sys.argv[1:]])
            checked = settings(**{key: value for key, value in given.items() if value is not None})
            start = time.monotonic()
            with terminal(**chosen) as shown:
                with status("loading", shown=given.get("progress", False)):
                    function = getattr(import_module(f"se_probe.runs.{name}"), name).__wrapped__
                result = function(checked)
                if _is_first_process():
                    page = show(result, shown)
                    shown.line("took", _duration(time.monotonic() - start))
                    open_page(page if open_report else None)

        parameters = [_keyword("context", typer.Context, inspect.Parameter.empty)]
        parameters += [_parameter(item) for item in options if item.on_command_line]
        parameters += [_keyword(key, annotation, False) for key, annotation in flags.items()]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__doc__ = settings.__doc__
        app.command(name, cls=Command, epilog="\n".join(examples))(command)
        return show

    return decorate


def _parameter(item: Option) -> inspect.Parameter:
    """Return an option as typer reads it from a signature."""
    shared: dict[str, Any] = {"help": item.help, "rich_help_panel": item.panel.value}
    if item.kind is bool:
        names = f"{item.flag}/--no-{item.flag[2:]}" if item.default else item.flag
        return _keyword(item.name, Annotated[bool, typer.Option(names, **shared)], item.default)
    kind: Any = list[str] if item.kind is list else item.kind
    shared["metavar"] = item.metavar
    if item.required:
        return _keyword(item.name, Annotated[kind, typer.Argument(**shared)], inspect.Parameter.empty)
    if item.unnamed:
        return _keyword(item.name, Annotated[kind | None, typer.Argument(**shared)], None)
    default = item.default if item.default != () else None
    if default is not None and item.kind is list:
        default = [str(value) for value in default]
    elif default is not None and item.kind not in (int, float):
        default = item.words(default)[-1]
    declared = typer.Option(item.flag, envvar=item.envvar, **shared)
    return _keyword(item.name, Annotated[kind | None, declared], default)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _is_first_process() -> bool:
    """Return whether this process reports for all that were started together."""
    from se_probe.recording import place_of_environment

    return place_of_environment()[0] == 0


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _forget_environment(context: typer.Context, given: dict[str, Any]) -> None:
    """Ignore data from the environment if the demo is requested."""
    source = context.get_parameter_source("data") if "data" in given else None
    demo = given.get("demo") or str(given.get("model") or "").startswith("demo:")
    if demo and source is not None and source.name == "ENVIRONMENT":
        given["data"] = None
