"""A recording with methods for notebooks: its figures, findings, labels and report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from se_probe.analysis.findings import findings, findings_table
from se_probe.labels import ImageClass, LabelSpace, label_space_from_names
from se_probe.recording import Recording
from se_probe.recording.recording import open_recording as open_store


class RunRecording(Recording):
    """A recording that draws its figures, judges the papers' claims and writes its report.

    `se_probe.excite` and `se_probe.open_recording` return it.
    """

    _data: str | Path | None = None
    _folder: Path | None = None

    @classmethod
    def of_run(cls, recording: Recording, data: str | Path | None = None, folder: Path | None = None) -> RunRecording:
        """Wrap a recording.

        Args:
            recording: the recording.
            data: where its images are, as given by the user.
            folder: the run's folder; by default the one that holds the recording.
        """
        made = cls(recording.path, recording.tree, recording.signal)
        made._data, made._folder = data, folder
        return made

    @property
    def run_folder(self) -> Path:
        """The run's folder, with its report; of one step among several, that of the comparison."""
        return self._folder or self.path.parent

    def of(self, signal: str) -> RunRecording:
        """Return the recording with another signal in place of the gates.

        Raises:
            SeProbeError: the signal was not captured.
        """
        return self.of_run(super().of(signal), self._data, self._folder)

    @property
    def labels(self) -> LabelSpace:
        """The classes seen, see `recorded_labels`."""
        return recorded_labels(self)

    def findings(self) -> pd.DataFrame:
        """Judge the papers' claims: one row each with title, verdict, result and statement.

        Raises:
            SeProbeError: no image of a chosen class was recorded.
        """
        return findings_table(findings(self))[["title", "verdict", "result", "statement"]]

    def plot(self, folder: str | Path | None = None, **options: Any) -> list[Path]:
        """Draw the figures of the recording into `figures/` of its run's folder, or of another; return the files.

        Args:
            folder: where `figures/` is made; the run's folder by default.
            options: sites, classes, channels, within and seed, as of `se_probe.draw`.

        Raises:
            SeProbeError: an option is out of range, or the folder cannot be written.
        """
        from se_probe.runs.draw import draw  # imports Matplotlib

        return draw(self, folder or self.path.parent, **options)

    def report(self, data: str | Path | None = None, factors: str | Path | None = None) -> Path:
        """Measure the gates and write tables, figures and `report.html` into the run's folder; return its path.

        Args:
            data: the images, for thumbnails; by default those given to `excite` in this process.
            factors: a CSV file of known factors of the images, see `analysis.covariates.read_factors`.

        Raises:
            SeProbeError: no image of a chosen class was recorded, or the folder cannot be written.
        """
        from se_probe.runs.analyse import write_analysis

        return write_analysis(self, data=data or self._data, factors=factors, progress=False)

    def __repr__(self) -> str:
        model, state = self.provenance["model"]["name"], "" if self.complete else ", INCOMPLETE"
        return f"<se_probe.Recording {self.path}: {model}, {len(self.sites)} sites, {len(self.images)} images{state}>"


def recorded_labels(recording: Recording) -> LabelSpace:
    """Return the classes seen, with all their names, in the order of output units; those without a unit come last."""
    table = recording.classes.sort_values("index", na_position="last", kind="stable").astype(object)
    rows = table[["name", "index", "wnid"]].where(table.notna(), None).itertuples(index=False, name=None)
    classes = []
    for name, index, wnid in rows:
        lemmas = label_space_from_names([wnid], title="").classes[0].lemmas if wnid else (name,)
        classes.append(ImageClass(None if index is None else int(index), wnid, name, lemmas))
    return LabelSpace(tuple(classes), title=f"the recording {recording.path}")


def open_recording(path: str | Path) -> RunRecording:
    """Open a recording for reading; see `se_probe.recording.open_recording`.

    Args:
        path: a run's folder or the `recording.zarr` in it, or a URL of one as fsspec knows them (`s3://...`).

    Raises:
        SeProbeError: there is no recording at `path`, or it is damaged.
    """
    return RunRecording.of_run(open_store(path))
