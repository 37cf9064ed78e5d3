"""Read the files that give each image of a data set its label."""

from __future__ import annotations

import csv
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import NamedTuple

from se_probe.errors import SeProbeError
from se_probe.images.listing import Listing, is_image, read_text
from se_probe.labels import LabelSpace, is_wnid

TINY_ANNOTATIONS = "val_annotations.txt"
KAGGLE_SOLUTION = "LOC_val_solution.csv"
_TEXT_SUFFIXES = (".txt", ".csv", ".tsv", ".lst")
_LARGEST_TEXT = 64 * 2**20
_LINES_SHOWN = 3
_LONGEST_SHOWN = 60
_EXPECTED = (
    'a text file beside or in it with a line "name label" for each image (label: the network\'s output index, a wnid, '
    "or after a comma or tab the name of one of its classes)"
)


class NoLabelFileError(SeProbeError):
    """No file labels the images."""


def read_tiny_annotations(text: str) -> dict[str, str]:
    """Return the wnid of each image name in the text of Tiny-ImageNet's `val_annotations.txt`."""
    rows = [line.split() for line in text.splitlines() if line.strip()]
    broken = next((row for row in rows if len(row) < 2 or not is_wnid(row[1])), None)
    if broken is not None or not rows:
        found = " ".join(broken) if broken else "nothing"
        raise SeProbeError(f'{TINY_ANNOTATIONS} holds "{found}"; expected lines of an image name and its wnid')
    return _one_label_each(TINY_ANNOTATIONS, ((row[0], row[1]) for row in rows))


def read_kaggle_solution(text: str) -> dict[str, str]:
    """Return the wnid of each image id in the text of Kaggle's `LOC_val_solution.csv`."""
    try:
        rows = [row for row in csv.reader(text.splitlines()) if row]
    except csv.Error as error:
        raise SeProbeError(f"{KAGGLE_SOLUTION} cannot be read ({error}); expected Kaggle's file as it is") from error
    if not rows or rows[0][:2] != ["ImageId", "PredictionString"]:
        found = _shown(", ".join(rows[0])) if rows else ""
        raise SeProbeError(f"{KAGGLE_SOLUTION} has the columns {found}; expected ImageId,PredictionString")
    labels = []
    for name, *cells in rows[1:]:
        wnids = {word for word in "".join(cells[:1]).split() if is_wnid(word)}
        if len(wnids) != 1:
            raise SeProbeError(f"{KAGGLE_SOLUTION} gives {name} {len(wnids)} classes; expected exactly one wnid")
        labels.append((name, wnids.pop()))
    return _one_label_each(KAGGLE_SOLUTION, labels)


def find_label_file(listing: Listing, images: Iterable[str], labels: LabelSpace | None) -> tuple[str, dict[str, str]]:
    """Return the name of the text file beside or in the folder that labels every image, and the label of each.

    Its lines are `name label`, with or without a header; the name may lack folders or the extension. After a tab or
    comma the label is an index, a wnid or the name of a class in `labels`; after a space an index or a wnid.

    Raises:
        NoLabelFileError: there is none.
        SeProbeError: it is incomplete, contradictory or unclear, two files disagree, or it is the devkit's list of
            class ids, whose order is not that of the network's output.
    """
    wanted = tuple(images)
    texts = _texts(listing)
    found = [(name, text, _labelled(name, text, wanted, labels)) for name, text in texts]
    files = {name: labelled for name, _, labelled in found if labelled}
    if not files:
        unclear = next(((name, text) for name, text, labelled in found if labelled is not None), None)
        if unclear:
            raise SeProbeError(_unclear(listing, *unclear))
        raise NoLabelFileError(_no_label_file(listing, wanted, texts))
    for name, labelled in files.items():
        if len(labelled) < len(wanted):
            missing = next(image for image in wanted if image not in labelled)
            raise SeProbeError(
                f"{name} labels {len(labelled)} of {len(wanted)} images and not {missing}; expected a line for each "
                "image"
            )
    first, labelled = next(iter(files.items()))
    if any(other != labelled for other in files.values()):
        names = " and ".join(files)
        raise SeProbeError(f"{listing.root}: the label files {names} disagree; expected one: remove the wrong one")
    return first, labelled


def _one_label_each(file: str, rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for name, label in rows:
        if labels.setdefault(name, label) != label:
            raise _contradiction(file, name, labels[name], label)
    return labels


def _contradiction(file: str, name: str, one: str, other: str) -> SeProbeError:
    return SeProbeError(f"{file} gives {name} two classes, {one} and {other}; expected one: correct the wrong line")


def _texts(listing: Listing) -> list[tuple[str, str]]:
    texts = []
    for name, blob in ({name: listing.files[name] for name in listing.others} | dict(listing.beside)).items():
        # Files beside the images may be anything; those that are no text are not label files.
        with suppress(OSError, SeProbeError):
            if name.lower().endswith(_TEXT_SUFFIXES) and blob.length() <= _LARGEST_TEXT:
                texts.append((name, read_text(blob, name)))
    return texts


def _labelled(file: str, text: str, images: tuple[str, ...], labels: LabelSpace | None) -> dict[str, str] | None:
    """Return the labels in a file: None where it names no image, empty where its lines are not clear."""
    rows = [_name_and_label(line) for line in text.splitlines() if line.strip()]
    exact, stems = _by_name(rows, _base), _by_name(rows, _stem)
    named = {}
    for image in images:
        # `a.png` and `a` both mean a.png; `a.jpg` does only where neither is there.
        texts = [*exact.get(_base(image), ()), *exact.get(_stem(image), ())] or stems.get(_stem(image))
        if texts:
            named[image] = list(dict.fromkeys(texts))
    if not named:
        return None
    if not _are_labels(rows, named, labels):
        return {}
    for image, texts in named.items():
        if len(texts) > 1:
            raise _contradiction(file, image, texts[0], texts[1])
    return {image: texts[0] for image, texts in named.items()}


def _by_name(rows: Iterable[_Row], key: Callable[[str], str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        found[key(row.name)].append(row.label)
    return found


def _are_labels(rows: Sequence[_Row], named: Mapping[str, Iterable[str]], labels: LabelSpace | None) -> bool:
    """Return whether every line has a label, except perhaps the first, a header."""
    stems = {_stem(image) for image in named}
    header = len(rows) > 1 and _stem(rows[0].name) not in stems
    lines = rows[1:] if header and not _is_number(rows[0].label) else rows
    if all(row.name and _is_number(row.label) for row in lines):
        return True
    return labels is not None and all(row.separated and labels.candidates(row.label) for row in lines)


def _is_number(label: str) -> bool:
    return is_wnid(label) or label.isdecimal()


class _Row(NamedTuple):
    """The parts of a line, and whether a tab, comma or semicolon separates them, not a space."""

    name: str
    label: str
    separated: bool


def _name_and_label(line: str) -> _Row:
    """Return a line's parts before and after its last tab, else its last comma, semicolon or space."""
    separator = next((sign for sign in ("\t", ",", ";") if sign in line), None)
    if separator and '"' in line:
        with suppress(csv.Error):
            cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True))
            if len(cells) == 2:
                return _Row(cells[0].strip(), cells[1].strip(), True)
    parts = line.rsplit(separator, 1)
    name, label = (part.strip() for part in (*parts, "")[:2])
    return _Row(name, label, separator is not None)


def _base(name: str) -> str:
    # Composed, because file systems may store accents decomposed.
    return PurePosixPath(unicodedata.normalize("NFC", name)).name


def _stem(name: str) -> str:
    base = _base(name)
    return PurePosixPath(base).stem if is_image(base) else base


def _unclear(listing: Listing, name: str, text: str) -> str:
    first = " | ".join(_shown(line) for line in text.splitlines()[:_LINES_SHOWN])
    return (
        f"{listing.root}: {name} names images, but not every line is a name and a label; it begins with: {first}; "
        f"expected {_EXPECTED}"
    )


def _shown(line: str) -> str:
    line = " ".join(line.split())
    return line if len(line) <= _LONGEST_SHOWN else f"{line[:_LONGEST_SHOWN]}…"


def _no_label_file(listing: Listing, images: tuple[str, ...], texts: Iterable[tuple[str, str]]) -> str:
    for name, text in texts:
        lines = text.split()
        if lines and all(line.isdecimal() for line in lines):
            return (
                f"{listing.root}: {name} lists class ids without image names, as the ILSVRC devkit does, and its ids "
                f"follow another order than the network's output; expected {_EXPECTED}"
            )
    return (
        f"{listing.root}: {len(images)} images such as {images[0]} are in one folder and nothing says their classes; "
        f"expected {_EXPECTED}, names <wnid>_*.JPEG, or a folder for each class"
    )
