"""Detect how a folder or tar of images is laid out and read each image's label; refuse what is unclear."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from se_probe.errors import SeProbeError
from se_probe.images.labelfiles import (
    KAGGLE_SOLUTION,
    TINY_ANNOTATIONS,
    NoLabelFileError,
    find_label_file,
    read_kaggle_solution,
    read_tiny_annotations,
)
from se_probe.images.listing import IMAGE_EXTENSIONS, Listing, read_text
from se_probe.labels import LabelSpace, is_wnid

EXPECTED = (
    "expected one folder per class (named by wnid, class name or output index), flat files <wnid>_*.JPEG, or flat "
    "files with a label file"
)
ONE_CLASS = "images"
"""The class of images without labels."""
_FLAT_WNID = re.compile(r"(n\d{8})_.+")
_ILSVRC = re.compile(r"ILSVRC2012_val_\d{8}\.\w+", re.IGNORECASE)
# Names that split a data set, never classes of it.
_NOT_CLASSES = frozenset({"train", "training", "val", "valid", "validation", "test", "testing", "images"})


@dataclass(frozen=True)
class Layout:
    """A description of the layout, with a placeholder `{kind}`, and the label text of each image."""

    words: str
    labelled: Mapping[str, str] = field(repr=False)


def detect_layout(listing: Listing, labels: LabelSpace | None, *, unlabelled: bool = False) -> Layout:
    """Return the layout of the files and the label text of each image; `unlabelled` as in `open_images`."""
    if not listing.images:
        raise SeProbeError(f"{listing.root} holds no images ({len(listing.files)} files); {EXPECTED}")
    if annotated := _tiny_imagenet(listing) or _kaggle(listing):
        return annotated
    if f"{os.path.splitext(listing.images[0])[0]}.cls" in listing.files:
        return webdataset_layout(listing)
    folders = _by_folder(listing.images)
    first = next(iter(folders))
    leaf = os.path.basename(first)
    is_class = bool(leaf) and (is_wnid(leaf) or (labels is not None and bool(labels.candidates(leaf))))
    if len(folders) == 1 and not is_class:
        return _flat(listing, first, labels, unlabelled)
    return _class_folders(listing, folders)


def _tiny_imagenet(listing: Listing) -> Layout | None:
    found = _find_annotation(listing, TINY_ANNOTATIONS)
    if found is None:
        return None
    name, folder, text = found
    # The folder may be val/images itself, with the text file beside it.
    within = "" if name.startswith("../") and Path(listing.root).name == "images" else f"{folder}images"
    images = [image for image in listing.images if os.path.dirname(image) == within]
    if not images:
        # The images were moved to class folders; only the text file stayed.
        return None
    wnids = read_tiny_annotations(text)
    labelled = {image: wnids[os.path.basename(image)] for image in images if os.path.basename(image) in wnids}
    _require_all(listing, name, images, labelled)
    return Layout(f"Tiny-ImageNet's validation images, labelled by {name}", labelled)


def _kaggle(listing: Listing) -> Layout | None:
    found = _find_annotation(listing, KAGGLE_SOLUTION)
    if found is None:
        return None
    name, _, text = found
    wnids = read_kaggle_solution(text)
    labelled = {i: wnids[PurePosixPath(i).stem] for i in listing.images if PurePosixPath(i).stem in wnids}
    folders = {os.path.dirname(image) for image in labelled}
    if len(folders) != 1:
        # The images were moved to class folders, or are not here.
        return None
    folder = folders.pop()
    images = [image for image in listing.images if os.path.dirname(image) == folder]
    _require_all(listing, name, images, labelled)
    return Layout(f"flat files{_below(folder)} labelled by Kaggle's {name}", labelled)


def _find_annotation(listing: Listing, basename: str) -> tuple[str, str, str] | None:
    """Return name, folder prefix and text of the only file of that name in or just beside the listing."""
    names = [name for name in listing.others if os.path.basename(name) == basename]
    if len(names) > 1:
        raise SeProbeError(
            f"{listing.root} holds {len(names)} files {basename} ({', '.join(names)}); expected one: give the folder "
            "of the one that is meant"
        )
    if names:
        return names[0], names[0].removesuffix(basename), read_text(listing.files[names[0]], names[0])
    name = f"../{basename}"
    return (name, "", read_text(listing.beside[name], name)) if name in listing.beside else None


def _require_all(listing: Listing, name: str, images: Iterable[str], labelled: Mapping[str, str]) -> None:
    missing = next((image for image in images if image not in labelled), None)
    if missing is not None:
        raise SeProbeError(f"{listing.root}: {name} has no label for {missing}; expected a label for each image")


def webdataset_layout(listing: Listing) -> Layout:
    """Return the class index of each record of WebDataset's shards, from its `.cls` or `.json` file."""
    records: dict[str, dict[str, str]] = defaultdict(dict)
    for name in listing.files:
        # As webdataset does: the key ends at the first dot of the file's name.
        folder, slash, file = name.rpartition("/")
        stem, _, field = file.partition(".")
        records[folder + slash + stem][field.lower()] = name
    labelled = {}
    for fields in records.values():
        image = next((name for field, name in fields.items() if f".{field}" in IMAGE_EXTENSIONS), None)
        if image is not None:
            labelled[image] = _record_label(listing, fields, image)
    if not labelled:
        raise SeProbeError(f"{listing.root} holds no images ({len(listing.files)} files); expected WebDataset's shards")
    return Layout("WebDataset's records labelled by {kind}", labelled)


def _record_label(listing: Listing, fields: Mapping[str, str], image: str) -> str:
    try:
        name = fields["cls"] if "cls" in fields else fields["json"]
        text = read_text(listing.files[name], name)
        index = int(text if "cls" in fields else json.loads(text)["label"])
    except (KeyError, TypeError, ValueError, RecursionError):
        index = -1
    if index < 0:
        raise SeProbeError(
            f"{listing.root}: {image} has no class index; expected a .cls file or a label in a .json file (an output "
            "index)"
        )
    return str(index)


def _by_folder(images: Iterable[str]) -> dict[str, list[str]]:
    folders: dict[str, list[str]] = defaultdict(list)
    for image in images:
        folder = os.path.dirname(image)
        # Tiny-ImageNet's training images are in <wnid>/images/.
        if os.path.basename(folder) == "images" and is_wnid(os.path.basename(os.path.dirname(folder))):
            folder = os.path.dirname(folder)
        folders[folder].append(image)
    return folders


def _flat(listing: Listing, folder: str, labels: LabelSpace | None, unlabelled: bool) -> Layout:
    names = {image: os.path.basename(image) for image in listing.images}
    named = {image: match[1] for image, name in names.items() if (match := _FLAT_WNID.fullmatch(name))}
    if len(named) == len(names):
        return Layout(f"flat files{_below(folder)} named <wnid>_*", named)
    if named:
        other = next(image for image in names if image not in named)
        raise SeProbeError(
            f"{listing.root}: {len(named)} files are named <wnid>_* and {len(names) - len(named)} are not ({other}); "
            f"{EXPECTED}"
        )
    try:
        file, labelled = find_label_file(listing, listing.images, labels)
    except NoLabelFileError:
        if not unlabelled:
            raise
        return Layout(f"flat files{_below(folder)} without labels, as one {{kind}}", dict.fromkeys(names, ONE_CLASS))
    what = "flat ILSVRC files" if all(map(_ILSVRC.fullmatch, names.values())) else "flat files"
    return Layout(f"{what}{_below(folder)} labelled by {{kind}} in {file}", labelled)


def _class_folders(listing: Listing, folders: Mapping[str, list[str]]) -> Layout:
    parents = sorted({os.path.dirname(folder) for folder in folders})
    names = {os.path.basename(folder) for folder in folders}
    problem = ""
    if "" in folders:
        inside = next(folder for folder in folders if folder)
        problem = (
            f"{len(folders[''])} images are in the folder itself ({folders[''][0]}) and others in folders within it "
            f"({inside}/); {EXPECTED}"
        )
    elif len(parents) > 1:
        places = [f"{parent}/*".removeprefix("/") for parent in parents]
        some = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
        problem = (
            f"images are in folders at several places ({some}); {EXPECTED}: give the folder that holds the class "
            "folders"
        )
    elif splits := sorted(name for name in names if name.lower() in _NOT_CLASSES):
        problem = f"the folder {splits[0]}/ holds images directly, and its name is no class; {EXPECTED}"
    if problem:
        raise SeProbeError(f"{listing.root}: {problem}")
    labelled = {image: os.path.basename(folder) for folder, images in folders.items() for image in images}
    return Layout(f"folders{_below(parents[0])} named by {{kind}}", labelled)


def _below(folder: str) -> str:
    return f" below {folder}/" if folder else ""
