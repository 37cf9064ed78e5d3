"""Read the files that give each image of a data set its label."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from se_probe.errors import SeProbeError
from se_probe.images.blobs import Blob
from se_probe.images.listing import Listing, is_image, read_text
from se_probe.labels import is_wnid

TINY_ANNOTATIONS = "val_annotations.txt"
KAGGLE_SOLUTION = "LOC_val_solution.csv"
_TEXT_SUFFIXES = (".txt", ".csv", ".tsv", ".lst")
_LARGEST_TEXT = 64 * 2**20


@dataclass(frozen=True)
class LabelFile:
    """The label text of each image, by the image's name in the listing."""

    name: str
    labelled: Mapping[str, str]


def read_tiny_annotations(text: str) -> dict[str, str]:
    """Return the wnid of each image name in the text of Tiny-ImageNet's `val_annotations.txt`.

    Raises:
        SeProbeError: a line is not `name wnid x y width height`.
    """
    rows = [line.split() for line in text.splitlines() if line.strip()]
    broken = next((row for row in rows if len(row) < 2 or not is_wnid(row[1])), None)
    if broken is not None or not rows:
        found = " ".join(broken) if broken else "nothing"
        raise SeProbeError(f'{TINY_ANNOTATIONS} holds "{found}"; expected lines of an image name and its wnid')
    return {row[0]: row[1] for row in rows}


def read_kaggle_solution(text: str) -> dict[str, str]:
    """Return the wnid of each image id in the text of Kaggle's `LOC_val_solution.csv`.

    Raises:
        SeProbeError: the columns are not `ImageId,PredictionString`, or an image has not exactly one class.
    """
    reader = csv.DictReader(text.splitlines())
    if reader.fieldnames is None or list(reader.fieldnames)[:2] != ["ImageId", "PredictionString"]:
        raise SeProbeError(
            f"{KAGGLE_SOLUTION} has the columns {', '.join(reader.fieldnames or ())}; expected ImageId,PredictionString"
        )
    labels = {}
    for row in reader:
        wnids = {word for word in (row["PredictionString"] or "").split() if is_wnid(word)}
        if len(wnids) != 1:
            raise SeProbeError(
                f"{KAGGLE_SOLUTION} gives {row['ImageId']} {len(wnids)} classes; expected exactly one wnid"
            )
        labels[row["ImageId"]] = wnids.pop()
    return labels


def find_label_file(listing: Listing, images: Iterable[str]) -> LabelFile:
    """Return the text file beside or in the folder that labels every one of the images.

    Its lines are `name label`; the name may lack folders or the extension, the label is an index or a wnid.

    Raises:
        SeProbeError: there is none, it leaves an image out, two of them disagree, or it is the devkit's list of
            class ids, whose order is not that of the network's output.
    """
    wanted = tuple(images)
    files = [
        _applied(name, pairs, wanted)
        for name, text in _texts(listing)
        if (pairs := _label_lines(text)) is not None and _names_any(pairs, wanted)
    ]
    if not files:
        raise SeProbeError(_no_label_file(listing, wanted))
    partial = next((file for file in files if len(file.labelled) < len(wanted)), None)
    if partial is not None:
        missing = next(name for name in wanted if name not in partial.labelled)
        raise SeProbeError(
            f"{partial.name} labels {len(partial.labelled)} of {len(wanted)} images and not {missing}; "
            "expected a line for each image"
        )
    if any(file.labelled != files[0].labelled for file in files):
        names = " and ".join(file.name for file in files)
        raise SeProbeError(f"{listing.root}: the label files {names} disagree; expected one: remove the wrong one")
    return files[0]


def _texts(listing: Listing) -> list[tuple[str, str]]:
    blobs = {name: listing.files[name] for name in listing.others} | dict(listing.beside.files())
    texts = ((name, _text_or_none(blob, name)) for name, blob in blobs.items() if name.lower().endswith(_TEXT_SUFFIXES))
    return [(name, text) for name, text in texts if text is not None]


def _text_or_none(blob: Blob, name: str) -> str | None:
    # Any file may lie beside the images; one that cannot be read, or is no text, says nothing about them.
    try:
        return read_text(blob, name) if blob.length() <= _LARGEST_TEXT else None
    except (OSError, SeProbeError):
        return None


def _label_lines(text: str) -> dict[str, str] | None:
    rows = [_name_and_label(line) for line in text.splitlines() if line.strip()]
    if not rows or not all(name and (is_wnid(label) or label.isdecimal()) for name, label in rows):
        return None
    labels = {_stem(name): label for name, label in rows}
    contradicted = any(labels[_stem(name)] != label for name, label in rows)
    return None if contradicted else labels


def _name_and_label(line: str) -> tuple[str, str]:
    """Return a line's parts before and after its last tab, else its last comma, else its last space."""
    separator = next((sign for sign in ("\t", ",") if sign in line), None)
    parts = line.rsplit(separator, 1)
    name, label = (part.strip() for part in (*parts, "")[:2])
    if separator == "," and name[:1] == name[-1:] == '"':
        name = name[1:-1].replace('""', '"')
    return name, label


def _stem(name: str) -> str:
    # Composed, because a label file and a file system may write one accent in two ways.
    path = PurePosixPath(unicodedata.normalize("NFC", name))
    return path.stem if is_image(path.name) else path.name


def _names_any(pairs: Mapping[str, str], images: tuple[str, ...]) -> bool:
    return any(_stem(name) in pairs for name in images)


def _applied(name: str, pairs: Mapping[str, str], images: tuple[str, ...]) -> LabelFile:
    return LabelFile(name, {image: pairs[_stem(image)] for image in images if _stem(image) in pairs})


def _no_label_file(listing: Listing, images: tuple[str, ...]) -> str:
    expected = (
        'a text file beside or in it with a line "name label" for each image (label: the network\'s output index, '
        "or a wnid)"
    )
    devkit = [name for name, text in _texts(listing) if _is_devkit(text)]
    if devkit:
        return (
            f"{listing.root}: {devkit[0]} lists class ids without image names, as the ILSVRC devkit does, and its "
            f"ids follow another order than the network's output; expected {expected}"
        )
    return (
        f"{listing.root}: {len(images)} images such as {images[0]} lie flat and nothing says their classes; "
        f"expected {expected}, names <wnid>_*.JPEG, or a folder for each class"
    )


def _is_devkit(text: str) -> bool:
    lines = text.split()
    return bool(lines) and all(line.isdecimal() for line in lines)
