"""Write what a run leaves in its folder (figures with their numbers, tables, facts, a page), and log its results."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pandas as pd
from matplotlib.figure import Figure

from se_probe.analysis.findings import Summary
from se_probe.figures import save_figure
from se_probe.io.files import write_csv, write_file
from se_probe.io.log import tell
from se_probe.recording.run_folder import FACTS, FIGURES, TABLES


class Drawn(NamedTuple):
    """A figure, the numbers behind it, and the name of its files."""

    figure: Figure
    table: pd.DataFrame
    stem: str


@dataclass
class Artifacts:
    """Writes into a run's folder, logs each file, and keeps the paths in `written`.

    Raises:
        SeProbeError: from every method, if a file cannot be written.
    """

    folder: Path
    written: list[Path] = field(default_factory=list)

    def figures(self, drawn: Iterable[Drawn]) -> list[Path]:
        """Write figures as PNG, PDF, SVG and CSV; return their paths."""
        folder = self.folder / FIGURES
        return self._keep([path for item in drawn for path in save_figure(item.figure, item.table, folder, item.stem)])

    def tables(self, tables: Mapping[str, pd.DataFrame]) -> list[Path]:
        """Write tables under the names of their files; return their paths."""
        for name, table in tables.items():
            write_csv(table, self.folder / TABLES / name)
        return self._keep([self.folder / TABLES / name for name in tables])

    def facts(self, facts: Mapping[str, Any], name: str = FACTS) -> Path:
        """Write facts as JSON; return the path."""
        return self.file(name, (json.dumps(facts, indent=2, ensure_ascii=False) + "\n").encode())

    def file(self, name: str, content: bytes) -> Path:
        """Write a file; return its path."""
        write_file(self.folder / name, content)
        return self._keep([self.folder / name])[0]

    def page(self, name: str, content: str) -> Path:
        """Write a page and log its address; return its path."""
        page = self.file(name, content.encode())
        tell("report", page.resolve().as_uri())
        return page

    @property
    def links(self) -> list[str]:
        """The files beside the figures, as addresses relative to the folder."""
        paths = [path.relative_to(self.folder) for path in self.written]
        return [quote(path.as_posix()) for path in paths if path.parts[0] != FIGURES]

    def _keep(self, paths: list[Path]) -> list[Path]:
        for path in paths:
            tell("wrote", str(path), logging.DEBUG)
        self.written += paths
        return paths


def tell_summary(summary: Summary, statements: Iterable[str] = ()) -> None:
    """Log a summary, and the full statements behind it at the level of details."""
    for sentence in summary.sentences:
        tell("summary", sentence)
    for line in summary.claims:
        tell("finding", line)
    for statement in statements:
        tell("statement", statement, logging.DEBUG)
    if summary.next:
        tell("next", summary.next)
