"""Archives laid out as the public sets are, with a few small images in each."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping

import numpy as np
from PIL import Image

# Goldfish, pug, airliner and cliff; 1000 sorts between them as text and not as a number.
INDICES = (1, 254, 404, 972)
WNIDS = ("n01443537", "n02110958")


def jpeg(seed: int) -> bytes:
    """A small photograph of noise."""
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 48, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def imagenetv2_files(variant: str = "matched-frequency") -> dict[str, bytes]:
    """Folders named by index, files by hash, as in the published archives."""
    return {
        f"imagenetv2-{variant}-format-val/{index}/{index:020x}{number:020x}.jpeg": jpeg(10 * index + number)
        for index in INDICES
        for number in range(3)
    }


def tiny_imagenet_files() -> dict[str, bytes]:
    """The validation images in one folder with a text file, the training images in one folder per class."""
    files = {f"val/images/val_{number}.JPEG": jpeg(number) for number in range(6)}
    lines = [f"val_{number}.JPEG\t{WNIDS[number % 2]}\t0\t0\t62\t62\n" for number in range(6)]
    files["val/val_annotations.txt"] = "".join(lines).encode()
    files["wnids.txt"] = "\n".join(WNIDS).encode()
    files["test/images/test_0.JPEG"] = jpeg(6)
    for wnid in WNIDS:
        files[f"train/{wnid}/images/{wnid}_0.JPEG"] = jpeg(7)
        files[f"train/{wnid}/{wnid}_boxes.txt"] = f"{wnid}_0.JPEG\t0\t0\t62\t62\n".encode()
    return {f"tiny-imagenet-200/{name}": content for name, content in files.items()}


def tar_of(files: Mapping[str, bytes], mode: str = "w", *, folders: bool = True) -> bytes:
    """A tar as the authors made it: pax headers, folders as entries of their own."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, format=tarfile.PAX_FORMAT) as tar:
        for folder in sorted({name.rpartition("/")[0] for name in files if folders}):
            entry = tarfile.TarInfo(folder)
            entry.type = tarfile.DIRTYPE
            entry.pax_headers = {"mtime": "1549480512.5"}
            tar.addfile(entry)
        for name, content in files.items():
            add(tar, name, content)
    return stream.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes = b"", **facts: object) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    for fact, value in facts.items():
        setattr(entry, fact, value)
    tar.addfile(entry, io.BytesIO(content))


def zip_of(files: Mapping[str, bytes], *, folders: bool = True) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as zipped:
        for folder in sorted({name.rpartition("/")[0] + "/" for name in files if folders}):
            zipped.writestr(folder, b"")
        for name, content in files.items():
            zipped.writestr(name, content)
    return stream.getvalue()
