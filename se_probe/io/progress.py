"""Progress bars with the time left, in a terminal and in a notebook."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


@contextmanager
def progress_bar(description: str, total: int, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error and yield a function that advances it by a number of steps."""
    with _bar(MofNCompleteColumn(), TimeElapsedColumn(), shown=shown) as progress:
        task = progress.add_task(description, total=total)
        yield lambda steps: progress.update(task, advance=steps)


@contextmanager
def byte_bar(description: str, total: int, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """Show a bar of bytes on standard error and yield a function that takes the number of bytes done so far."""
    with _bar(DownloadColumn(), TransferSpeedColumn(), shown=shown) as progress:
        task = progress.add_task(description, total=total)
        yield lambda done: progress.update(task, completed=done)


def _bar(*columns: ProgressColumn, shown: bool) -> Progress:
    left = (TextColumn("left"), TimeRemainingColumn())
    return Progress(
        TextColumn("{task.description}"), BarColumn(), *columns, *left, console=_console(), disable=not shown
    )


def _console() -> Console:
    """Return standard error or a notebook's widget; a notebook without ipywidgets gets a bar of text."""
    console = Console(stderr=True)
    if console.is_jupyter and find_spec("ipywidgets") is None:
        return Console(stderr=True, force_jupyter=False)
    return console
