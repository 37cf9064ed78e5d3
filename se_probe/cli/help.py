"""Help of a command in panels that fit 80 columns: options beside their descriptions, nothing cut."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

_WIDEST = 100
_NAMES = 26  # columns for the names of options
OTHER = "Other"


class _Drawn:
    """A command that draws its own help: typer's leaves a quarter of 80 columns for descriptions."""

    def format_help(self: Any, ctx: Any, formatter: Any) -> None:
        """Write the usage, the docstring, commands and options in panels, and the examples in `epilog`."""
        console = Console(highlight=False, emoji=False)
        console.width = min(console.width, _WIDEST)
        console.print(Text(self.get_usage(ctx), style="bold"), soft_wrap=True)
        console.print(Text(f"\n{_reflowed(self.help or '')}\n"))
        panels: dict[str, list[tuple[str, Text]]] = defaultdict(list)
        if isinstance(self, TyperGroup):
            for name in self.list_commands(ctx):
                about = getattr(self.get_command(ctx, name), "help", None) or ""
                panels["Commands"].append((name, Text(_reflowed(about))))
        for parameter in self.get_params(ctx):
            if not getattr(parameter, "hidden", False):
                title = getattr(parameter, "rich_help_panel", None) or OTHER
                panels[title].append((_names(parameter), _described(parameter)))
        for title in sorted(panels, key=lambda title: title == OTHER):
            console.print(Panel(_rows(panels[title]), title=title, title_align="left", border_style="dim"))
        if self.epilog:
            console.print(Text("Examples", style="bold"))
            for example in self.epilog.splitlines():
                console.print(Text(f"  {example}"), soft_wrap=True)


class Command(_Drawn, TyperCommand):
    """A command with its help in panels."""


class Group(_Drawn, TyperGroup):
    """A group of commands with its help in panels."""


def _reflowed(text: str) -> str:
    """Join the lines of each paragraph, for the terminal to wrap."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _rows(rows: Sequence[tuple[str, Text]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(width=min(_NAMES, max(len(name) for name, _ in rows)), overflow="fold", style="cyan")
    table.add_column(ratio=1, overflow="fold")
    for name, text in rows:
        table.add_row(Text(name), text)
    return table


def _names(parameter: Any) -> str:
    if not hasattr(parameter, "secondary_opts") or parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name)
    if parameter.secondary_opts:
        return f"--[no-]{parameter.opts[0][2:]}"
    names = ", ".join(sorted(parameter.opts, key=len))
    return names if getattr(parameter, "is_flag", False) else f"{names} {parameter.metavar or 'N'}"


def _described(parameter: Any) -> Text:
    text = Text(getattr(parameter, "help", None) or "")
    if parameter.required:
        text.append(" [required]", style="dim")
    if getattr(parameter, "envvar", None):
        text.append(f" [env var: {parameter.envvar}]", style="dim")
    flag = getattr(parameter, "is_flag", False)
    if parameter.default not in (None, (), [], "") and not (flag and not parameter.secondary_opts):
        shown = {True: "yes", False: "no"}[parameter.default] if flag else parameter.default
        text.append(f" [default: {shown}]", style="dim")
    return text
