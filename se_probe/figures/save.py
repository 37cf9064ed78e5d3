"""Saving a figure as PNG, PDF and SVG, with the numbers behind it as CSV beside them."""

from io import BytesIO
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from se_probe.figures.style import house_style
from se_probe.io.files import write_csv, write_file

DPI = 300

# No creation date: the same figure gives the same bytes.
METADATA: dict[str, dict[str, str | None]] = {
    "png": {},
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
}


def save_figure(figure: Figure, curves: pd.DataFrame, directory: Path, stem: str) -> list[Path]:
    """Write `stem`.png (300 dpi), .pdf, .svg and .csv (`curves`) to `directory`; return their paths.

    All are rendered before the first is written, and each appears whole or not at all.

    Args:
        figure: the figure.
        curves: the numbers behind it.
        directory: folder; it is made where it is missing.
        stem: name of the files without suffix.

    Raises:
        SeProbeError: the folder cannot be written.
    """
    contents = {suffix: _rendered(figure, suffix) for suffix in METADATA}
    for suffix, content in contents.items():
        write_file(directory / f"{stem}.{suffix}", content)
    write_csv(curves, directory / f"{stem}.csv")
    return [directory / f"{stem}.{suffix}" for suffix in (*contents, "csv")]


def _rendered(figure: Figure, suffix: str) -> bytes:
    title = figure.get_suptitle().replace("\n", " ")
    stream = BytesIO()
    with house_style():
        figure.savefig(stream, format=suffix, dpi=DPI, metadata={"Title": title, **METADATA[suffix]})
    return stream.getvalue()
