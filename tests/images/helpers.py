"""Small images in files, and what is loaded of them."""

import io
import tarfile
import unicodedata
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from se_probe.images import batches, open_images, select
from se_probe.labels import imagenet

NFC, NFD = unicodedata.normalize("NFC", "café.png"), unicodedata.normalize("NFD", "café.png")
SHOWN = {
    b"with space.png": "with space.png",
    b" leading and trailing .png": " leading and trailing .png",
    b"quote'\"`.png": "quote'\"`.png",
    b"<script>alert(1)&lt;.png": "<script>alert(1)&lt;.png",
    b"comma,semicolon;.png": "comma,semicolon;.png",
    b"$(touch x);*?[a].png": "$(touch x);*?[a].png",
    b"back\\slash.png": "back\\slash.png",
    b"percent%20{{7*7}}.png": "percent%20{{7*7}}.png",
    NFC.encode(): NFC,
    NFD.encode(): NFD,
    "日本語🐟.png".encode(): "日本語🐟.png",
    "\u202edeg.png".encode(): "\u202edeg.png",
    b"new\nline.png": "new\\x0aline.png",
    b"carriage\rtab\t.png": "carriage\\x0dtab\\x09.png",
    b"\x1b[31mred.png": "\\x1b[31mred.png",
    b"latin-\xe9\xff.png": "latin-\\xe9\\xff.png",
    "para\u2029graph.png".encode(): "para\\u2029graph.png",
    b"n" * 251 + b".png": "n" * 251 + ".png",
}


def write_image(path: Path, value: int = 0) -> None:
    """An 8x8 PNG-coded grey square, whatever the file's name ends in: the first pixel says which file it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path, format="PNG")


def photograph(size=(64, 48)):
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(noise)


def encoded(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def pack(tar_path, root, names):
    with tarfile.open(tar_path, "w") as tar:
        for name in names:
            tar.add(root / name, name)
    return tar_path


def first_pixels(loaded):
    return {i: int(image[0, 0, 0]) for batch in loaded for i, image in zip(batch.indices, batch.images, strict=True)}


class ToTensor:
    """Every pixel as it is, cut to 4x4; a class, so that workers can be spawned as well as forked."""

    def __call__(self, image):
        assert image.mode == "RGB"
        return torch.from_numpy(np.array(image)[:4, :4]).permute(2, 0, 1)


def whole_selection(root):
    images = open_images(root, imagenet())
    return select(images, images.classes, per_class=1000)


def load(root, workers=0, batch_size=4):
    return list(batches(whole_selection(root), ToTensor(), batch_size=batch_size, workers=workers))


def to_first_pixel(image):
    return torch.full((3, 1, 1), float(image.getpixel((0, 0))[0]))


def one_pixel(tree, data):
    root = tree("n01443537/a.JPEG")
    (root / "n01443537/a.JPEG").write_bytes(data)
    (batch,) = load(root)
    assert batch.skipped == ()
    return batch.images[0, :, 0, 0].tolist()
