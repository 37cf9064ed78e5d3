"""Progress bars with the time left, in a terminal and in a notebook; elsewhere a line every half minute."""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
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

from se_probe.io.log import tell

# Seconds between lines where no bar can be seen.
HEARTBEAT = 30.0


@contextmanager
def progress_bar(description: str, total: int, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error and yield a function that moves it on by a number of steps."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with _live(columns, shown) as progress:
        task = progress.add_task(description, total=total)
        done = progress.tasks[task]
        with _heartbeat(progress.console, shown, lambda: f"{description}: {done.completed:.0f} of {total}"):
            yield lambda steps: progress.update(task, advance=steps)


@contextmanager
def status(description: str, *, shown: bool = True) -> Iterator[None]:
    """Show on standard error what is being done, for a step whose length is not known."""
    console = _console()
    with _heartbeat(console, shown, lambda: description):
        if shown and console.is_terminal:
            with console.status(description):
                yield
        else:
            yield


@contextmanager
def byte_bar(description: str, total: int, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """Show a bar of bytes on standard error and yield a function that is told how many are done by now."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with _live(columns, shown) as progress:
        task = progress.add_task(description, total=total)
        done = progress.tasks[task]
        with _heartbeat(progress.console, shown, lambda: f"{description}: {done.percentage:.0f} %"):
            yield lambda size: progress.update(task, completed=size)


def _live(columns: Sequence[ProgressColumn], shown: bool) -> Progress:
    # Standard output goes through the bar's console where both share a terminal; a file gets it as it is.
    return Progress(*columns, console=_console(), disable=not shown, redirect_stdout=sys.stdout.isatty())


@contextmanager
def _heartbeat(console: Console, shown: bool, words: Callable[[], str]) -> Iterator[None]:
    """Log a line now and then, where the console is no terminal that would show a bar."""
    if not shown or console.is_terminal or console.is_jupyter:
        yield
        return
    over = threading.Event()

    def beat() -> None:
        while not over.wait(HEARTBEAT):
            tell("progress", words())

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _console() -> Console:
    """Standard error, or a widget in a notebook; a notebook without ipywidgets gets a bar of text."""
    console = Console(stderr=True)
    if console.is_jupyter and find_spec("ipywidgets") is None:
        return Console(stderr=True, force_jupyter=False)
    return console
