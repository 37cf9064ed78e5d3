"""What real folders hold besides plain photographs, and folders that change while they are read."""

import io
import os
import shutil
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from se_probe.errors import SeProbeError
from se_probe.images import batches, open_images, select
from se_probe.labels import imagenet
from tests.images.helpers import ToTensor, encoded, first_pixels, load, one_pixel, whole_selection, write_image

RED, BLUE = Image.new("RGB", (8, 8), (200, 10, 30)), Image.new("RGB", (8, 8), (10, 30, 200))


def reason_of(tree, data, name="odd.png"):
    """Why an image is skipped that lies beside a sound one."""
    root = tree("n01443537/good.png")
    (root / "n01443537" / name).write_bytes(data)
    (batch,) = load(root)
    assert len(batch.indices) == 1
    (skip,) = batch.skipped
    assert skip.path == f"n01443537/{name}"
    return skip.reason


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame(tree, form):
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(RED, form, save_all=True, append_images=[BLUE], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 2
    assert one_pixel(tree, data) == [200, 10, 30]


@pytest.mark.parametrize(
    ("image", "form", "expected"),
    [
        (Image.fromarray(np.full((8, 8), 0x40FF, np.uint16)), "TIFF", [0x40] * 3),
        (Image.new("1", (8, 8), 1), "PNG", [255] * 3),
        (Image.new("LA", (8, 8), (77, 0)), "PNG", [77] * 3),
        (RED.quantize(4), "GIF", [200, 10, 30]),
        (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF", [255, 0, 0]),
        (RED, "PPM", [200, 10, 30]),
        (RED, "BMP", [200, 10, 30]),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_other_kinds_of_pixels(tree, image, form, expected):
    assert one_pixel(tree, encoded(image, form)) == expected


def test_sixteen_bits_of_the_other_byte_order(tree):
    values = np.full((8, 8), 0x40FF, ">u2")
    entries = [(256, 3, 1, 8 << 16), (257, 3, 1, 8 << 16), (258, 3, 1, 16 << 16), (259, 3, 1, 1 << 16)]
    entries += [(262, 3, 1, 1 << 16), (273, 4, 1, 8 + 2 + 12 * 8 + 4), (278, 3, 1, 8 << 16), (279, 4, 1, 128)]
    table = struct.pack(">H", len(entries)) + b"".join(struct.pack(">HHII", *entry) for entry in entries)
    assert one_pixel(tree, b"MM\0*" + struct.pack(">I", 8) + table + bytes(4) + values.tobytes()) == [0x40] * 3


def test_pixels_without_a_stated_range(tree):
    image = Image.fromarray(np.full((8, 8), 0.5, np.float32))
    assert reason_of(tree, encoded(image, "TIFF")) == "pixels of mode F have no stated range"


def test_a_program_for_a_printer_is_not_run(tree):
    """Pillow would hand it to Ghostscript."""
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    assert Image.open(io.BytesIO(program)).format == "EPS"
    assert reason_of(tree, program, "odd.JPEG") == "not an image that Pillow can read"


@pytest.mark.parametrize(
    "header",
    [
        b"GIF89a"
        + struct.pack("<HHBBB", 60_000, 60_000, 0x80, 0, 0)
        + bytes(6)
        + b","
        + struct.pack("<HHHHBB", 0, 0, 60_000, 60_000, 0, 2),
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0),
        b"P6 60000 60000 255\n",
    ],
    ids=["GIF", "BMP", "PPM"],
)
def test_huge_dimensions_in_a_small_file(tree, header):
    assert reason_of(tree, header) == f"more than {Image.MAX_IMAGE_PIXELS} pixels: taken for a decompression bomb"


def test_links_that_lead_to_themselves(tree):
    root = tree("n01443537/good.png")
    folder = root / "n01443537"
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "there.png").symlink_to(folder / "back.png")
    (folder / "back.png").symlink_to(folder / "there.png")
    (batch,) = load(root)
    assert {(skip.path, skip.reason) for skip in batch.skipped} == {
        (f"n01443537/{name}.png", "Too many levels of symbolic links") for name in ("loop", "there", "back")
    }


def test_a_pipe_is_not_waited_for(tree):
    root = tree("n01443537/good.png")
    os.mkfifo(root / "n01443537/pipe.png")
    (batch,) = load(root)
    assert [skip.reason for skip in batch.skipped] == ["not a regular file"]


def test_a_file_larger_than_any_image(tree):
    root = tree("n01443537/good.png")
    with (root / "n01443537/large.png").open("wb") as stream:
        stream.truncate(2**30 + 1)  # a hole: it takes no room
    (batch,) = load(root)
    assert [skip.reason for skip in batch.skipped] == [
        "1073741825 bytes: larger than any image that is read (1073741824 bytes)"
    ]


@pytest.mark.parametrize("size", [(65500, 1), (1, 65500), (501, 1)])
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_strip_is_skipped_before_it_is_resized(tree, size, form):
    assert reason_of(tree, encoded(Image.new("RGB", size), form)).startswith(f"{size[0]}×{size[1]} pixels: one side")


def test_a_long_panorama_is_no_strip(tree):
    assert one_pixel(tree, encoded(Image.new("RGB", (2000, 4), (5, 5, 5)), "PNG")) == [5] * 3


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file here that opens and cannot be read")
def test_a_file_that_opens_and_cannot_be_read(tree):
    root = tree("n01443537/good.png")
    (root / "n01443537/mem.png").symlink_to("/proc/self/mem")
    (batch,) = load(root)
    assert [skip.reason for skip in batch.skipped] == ["Input/output error"]


@pytest.fixture
def unprivileged():
    """A folder of one's own, and no more rights than anybody has: root may read everything."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        os.seteuid(os.getuid())
        for place in folder.iterdir():
            place.chmod(0o755)
        shutil.rmtree(folder)


def test_files_and_folders_without_permission(unprivileged):
    for name in ("n01443537/good.png", "n01443537/secret.png", "n02110958/good.png"):
        write_image(unprivileged / name)
    (unprivileged / "n01443537/secret.png").chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    (batch,) = load(unprivileged)
    assert [(skip.path, skip.reason) for skip in batch.skipped] == [("n01443537/secret.png", "Permission denied")]
    if os.getuid() == 0:
        os.seteuid(0)
    (unprivileged / "n02110958").chmod(0)
    if os.getuid() == 0:
        os.seteuid(65534)
    with pytest.raises(SeProbeError) as caught:
        open_images(unprivileged, imagenet())
    assert str(caught.value) == (
        f"{unprivileged / 'n02110958'} cannot be read (Permission denied); expected a readable folder"
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_what_vanishes_is_skipped_and_what_appears_is_not_seen(tree, workers):
    root = tree(*(f"n01443537/{i}.png" for i in range(5)), "n02110958/a.png")
    selection = whole_selection(root)
    (root / "n01443537/1.png").unlink()
    shutil.rmtree(root / "n02110958")
    (root / "n01443537/3.png").unlink()
    (root / "n01443537/3.png").mkdir()
    write_image(root / "n01443537/new.png")
    loaded = list(batches(selection, ToTensor(), batch_size=2, workers=workers))
    assert first_pixels(loaded) == {0: 0, 2: 2, 4: 4}
    assert [(skip.path, skip.reason) for batch in loaded for skip in batch.skipped] == [
        ("n01443537/1.png", "No such file or directory"),
        ("n01443537/3.png", "not a regular file"),
        ("n02110958/a.png", "No such file or directory"),
    ]


def test_a_folder_that_goes_while_the_files_are_listed(tree, monkeypatch):
    root = tree("n01443537/a.png", "n02110958/b.png")
    scandir = os.scandir

    def scan_late(path):
        if path == str(root / "n01443537"):
            shutil.rmtree(root / "n02110958")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan_late)
    assert [sample.path for sample in open_images(root, imagenet()).samples] == ["n01443537/a.png"]


def test_many_files_are_listed_without_a_look_at_each(tree, monkeypatch):
    """Their names say enough: a look at 100,000 files takes minutes on a network's disk."""
    root = tree("n01443537/a.png")
    for number in range(3000):
        (root / "n01443537" / f"{number}.png").touch()
    looked = []
    with monkeypatch.context() as patched:
        for name in ("stat", "lstat"):
            look = getattr(os, name)
            patched.setattr(os, name, lambda *given, _look=look, **more: looked.append(given) or _look(*given, **more))
        images = open_images(root, imagenet())
    assert len(images.samples) == 3001
    assert 0 < len(looked) < 50
    assert len(select(images, images.classes, per_class=7).entries) == 7
