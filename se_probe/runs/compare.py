"""Compare two or more recorded runs: figures, tables and a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from se_probe.analysis.comparison import Comparison, compare_recordings, comparison_sentences, comparison_summary
from se_probe.errors import SeProbeError
from se_probe.figures.comparison import alignment, comparison_profiles
from se_probe.io.log import tell
from se_probe.io.progress import status
from se_probe.recording import Recording, open_recording
from se_probe.recording.run_folder import FIGURES, RunFolder, choose_folder
from se_probe.report.figures import ReportFigure, report_figure
from se_probe.report.pages import comparison_html
from se_probe.runs.artifacts import Artifacts, Drawn, tell_summary
from se_probe.runs.options import verb
from se_probe.runs.settings import CompareSettings

PAGE = "comparison.html"
NAMED = 2  # runs in the name of a folder
PROFILES = (
    "The gates at each site, from the first (0) to the last (1). A share of variance is shown beside the standard "
    "deviations behind it."
)
ALIGNMENT = (
    "Similarity of the gates of any two sites, over images and over classes, beside how much the gates move. Both "
    "measures ignore scale."
)


@verb(CompareSettings)
def compare(settings: CompareSettings) -> Path:
    """Compare two or more networks by relative depth, on the images that all of them were recorded on.

    Returns:
        The page, `comparison.html`. `figures/`, `tables/` and `run.json` are beside it.

    Raises:
        SeProbeError: a folder without a recording, the same run twice, too few images in common, or a folder
            that cannot be written or holds a recording. Nothing was written.
    """
    recordings = _open(settings.runs)
    folder = _folder(list(recordings), settings)
    notes = comparison_notes(recordings)
    with status("comparing", shown=settings.progress):
        comparison = compare_recordings(recordings)
    images = comparison.shared.images
    tell("shared", f"{len(images)} chosen images of {images['class'].nunique()} classes, by path and class")
    for note in notes:
        tell("note", note)
    folder.clear()
    artifacts = Artifacts(folder.path)
    figures = _draw(comparison, recordings, artifacts)
    artifacts.tables(
        {
            "comparison_sites.csv": comparison.sites,
            "comparison_matches.csv": comparison.matches,
            "comparison_alignment.csv": comparison.alignment,
            "shared_images.csv": images,
        }
    )
    facts = {
        "command": settings.started_by,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "se-probe": version("se-probe"),
        "demo": any(recording.demo for recording in recordings.values()),
        "runs": [
            {"label": label, "folder": str(item.path.parent), "complete": item.complete, **item.provenance}
            for label, item in recordings.items()
        ],
    }
    shared = {"shared_images": len(images), "shared_classes": list(comparison.shared.classes), "notes": notes}
    artifacts.facts({**facts, **shared})
    tell_summary(comparison_summary(comparison), comparison_sentences(comparison))
    content = comparison_html(comparison, recordings, figures=figures, links=artifacts.links, notes=notes)
    return artifacts.page(PAGE, content)


def comparison_notes(recordings: Mapping[str, Recording]) -> list[str]:
    """Return what limits a comparison: stopped runs, images left out, data of different names."""
    notes = [f"{label} was stopped before its end" for label, item in recordings.items() if not item.complete]
    numbers = [int((item.images["role"] == "chosen").sum()) for item in recordings.values()]
    if len(set(numbers)) > 1:
        each = ", ".join(f"{label} {number}" for label, number in zip(recordings, numbers, strict=True))
        notes.append(f"the runs have different numbers of chosen images ({each}); only the images of all runs are used")
    titles = dict.fromkeys(str(item.provenance["data"]["title"]) for item in recordings.values())
    if len(titles) > 1:
        notes.append(f"the data have different names ({', '.join(titles)}); images were matched by path and class")
    return notes


def run_labels(recordings: Sequence[Recording]) -> list[str]:
    """Name runs by their networks; add the folder to repeated networks, and a number to names that still repeat."""
    models = [str(recording.provenance["model"]["name"]) for recording in recordings]
    names = [
        model if models.count(model) == 1 else f"{model} ({recording.path.parent.name})"
        for model, recording in zip(models, recordings, strict=True)
    ]
    repeated = {name for name, number in Counter(names).items() if number > 1}
    return [f"{name} #{number}" if name in repeated else name for number, name in enumerate(names, start=1)]


def _open(runs: Sequence[str | Path]) -> dict[str, Recording]:
    recordings = [open_recording(run) for run in runs]
    stores = [recording.path.resolve() for recording in recordings]
    for index, store in enumerate(stores):
        if store in stores[:index]:
            raise SeProbeError(f"{runs[index]} was given twice; expected different runs")
    if len(recordings) < 2:
        raise SeProbeError(f"{len(recordings)} run was given; expected two or more to compare")
    return dict(zip(run_labels(recordings), recordings, strict=True))


def _folder(labels: Sequence[str], settings: CompareSettings) -> RunFolder:
    more = [f"and-{len(labels) - NAMED}-more"] if len(labels) > NAMED else []
    out = Path(settings.out) if settings.out is not None else None
    folder = choose_folder("-".join(["compare", *labels[:NAMED], *more]), out, overwrite=settings.overwrite)
    if folder.recording.exists():
        raise SeProbeError(f"{folder.path} holds a recording; choose another folder for the comparison with --out")
    return folder


def _draw(comparison: Comparison, recordings: Mapping[str, Recording], artifacts: Artifacts) -> list[ReportFigure]:
    demo = any(recording.demo for recording in recordings.values())
    images = comparison.shared.images
    caption = f"{len(images)} shared images of {images['class'].nunique()} classes"
    if len(comparison.shared.classes) > images["class"].nunique():
        caption += f"; statistics of classes over {len(comparison.shared.classes)} classes"
    figure = comparison_profiles(comparison.sites, demo=demo, caption=caption)
    artifacts.figures([Drawn(figure, comparison.sites, "profiles")])
    shown = [report_figure(artifacts.folder / FIGURES, "profiles", "Comparison profiles by relative depth", PROFILES)]
    for (first, other), rows in comparison.alignment.groupby(["first", "other"], sort=False):
        numbers = [comparison.runs.index(str(label)) + 1 for label in (first, other)]
        figure, stem = alignment(rows, demo=demo, caption=caption), "alignment_{}_{}".format(*numbers)
        artifacts.figures([Drawn(figure, rows, stem)])
        shown.append(report_figure(artifacts.folder / FIGURES, stem, f"{first} and {other}", ALIGNMENT))
    return shown
