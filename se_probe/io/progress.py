"""Progress bars with the time left, in a terminal and in a notebook; elsewhere a line every half minute."""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec

from rich import progress as bars
from rich.console import Console

from se_probe.io.log import tell

# Seconds between lines where no bar can be seen.
HEARTBEAT = 30.0


@contextmanager
def progress_bar(description: str, total: int, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error and yield a function that advances it by a number of steps."""
    columns = (bars.MofNCompleteColumn(), bars.TimeElapsedColumn())
    with _bar(description, total, columns, lambda task: f"{task.completed:.0f} of {total}", shown) as update:
        yield lambda steps: update(advance=steps)


@contextmanager
def status(description: str, *, shown: bool = True) -> Iterator[None]:
    """Show a step of unknown length on standard error."""
    console = _console()
    with _heartbeat(console, shown, lambda: description):
        if shown and console.is_terminal:
            with console.status(description):
                yield
        else:
            yield


@contextmanager
def byte_bar(description: str, total: int, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """Show a bar of bytes on standard error and yield a function that sets the number done."""
    columns = (bars.DownloadColumn(), bars.TransferSpeedColumn())
    with _bar(description, total, columns, lambda task: f"{task.percentage:.0f} %", shown) as update:
        yield lambda size: update(completed=size)


@contextmanager
def _bar(
    description: str, total: int, columns: Sequence[bars.ProgressColumn], words: Callable[[bars.Task], str], shown: bool
) -> Iterator[Callable[..., None]]:
    """Show a bar with `columns`, or log `words` now and then; yield its `update`."""
    progress = bars.Progress(
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        *columns,
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(),
        console=_console(),
        disable=not shown,
        # Standard output goes through the bar's console where both share a terminal; a file gets it as it is.
        redirect_stdout=sys.stdout.isatty(),
    )
    with progress:
        number = progress.add_task(description, total=total)
        task = progress.tasks[number]
        with _heartbeat(progress.console, shown, lambda: f"{description}: {words(task)}"):
            yield partial(progress.update, number)


@contextmanager
def _heartbeat(console: Console, shown: bool, words: Callable[[], str]) -> Iterator[None]:
    """Log a line now and then where the console cannot show a bar."""
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
