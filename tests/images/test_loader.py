import io
import pickle
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from torch.utils.data._utils.pin_memory import pin_memory

from se_probe.images import Batch, batches
from tests.images.helpers import ToTensor, encoded, first_pixels, load, one_pixel, photograph, whole_selection


def _may_mount():
    """Whether a file system may be mounted in a namespace of one's own."""
    if shutil.which("unshare") is None:
        return False
    mount = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"]
    return subprocess.run(mount, capture_output=True).returncode == 0


def test_order_and_values_do_not_depend_on_workers(tree):
    root = tree(*(f"n01443537/{i:02d}.png" for i in range(11)), *(f"n02110958/{i:02d}.png" for i in range(6)))
    (root / "n01443537/03.png").write_bytes(b"no image")
    alone, pair = load(root, workers=0), load(root, workers=2)
    assert [b.indices for b in alone] == [(0, 1, 2), (4, 5, 6, 7), (8, 9, 10, 11), (12, 13, 14, 15), (16,)]
    assert first_pixels(alone) == {i: i for i in range(17) if i != 3}
    assert [b.indices for b in pair] == [b.indices for b in alone]
    assert [b.skipped for b in pair] == [b.skipped for b in alone]
    assert all(torch.equal(a.images, b.images) for a, b in zip(alone, pair, strict=True))
    assert alone[0].images.shape == (3, 3, 4, 4)


def test_a_selection_can_be_sent_to_a_spawned_worker(tree):
    selection = whole_selection(tree("n01443537/a.png", "n02110958/b.png"))
    sent = pickle.loads(pickle.dumps(selection))
    assert sent == selection
    assert first_pixels(batches(sent, ToTensor(), batch_size=2, workers=0)) == {0: 0, 1: 1}


def test_the_callers_random_numbers_are_left_alone(tree):
    root = tree("n01443537/a.png")
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load(root)
    assert torch.equal(torch.rand(2), expected)


def png_header(width, height):
    """The start of a PNG that claims a size and holds no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"")


def png_chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_images_that_cannot_be_decoded_are_named_with_a_reason(tree):
    root = tree("n01443537/00_good.png")
    folder = root / "n01443537"
    jpeg = encoded(photograph(), "JPEG")
    (folder / "01_empty.JPEG").write_bytes(b"")
    (folder / "02_text.JPEG").write_text("<html>404</html>")
    (folder / "03_truncated.JPEG").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "04_bomb.png").write_bytes(png_header(50_000, 50_000))
    (folder / "05_big.png").write_bytes(png_header(10_000, 10_000))
    (folder / "06_gone.png").symlink_to(folder / "nothing.png")
    (folder / "07_good.JPEG").write_bytes(jpeg)
    (batch,) = load(root, batch_size=99)
    assert batch.indices == (0, 7)
    assert batch.images.shape == (2, 3, 4, 4)
    bomb = f"more than {Image.MAX_IMAGE_PIXELS} pixels: taken for a decompression bomb"
    assert [(s.index, s.path.removeprefix("n01443537/"), s.reason) for s in batch.skipped if s.index != 3] == [
        (1, "01_empty.JPEG", "the file is empty"),
        (2, "02_text.JPEG", "not an image that Pillow can read"),
        (4, "04_bomb.png", bomb),
        (5, "05_big.png", bomb),
        (6, "06_gone.png", "No such file or directory"),
    ]
    (truncated,) = [s for s in batch.skipped if s.index == 3]
    assert truncated.reason.startswith("image file is truncated")


def test_a_batch_without_a_single_image(tree):
    root = tree("n01443537/a.png")
    (root / "n01443537/a.png").write_bytes(b"")
    (batch,) = load(root)
    assert batch.indices == ()
    assert len(batch.images) == 0
    assert [s.path for s in batch.skipped] == ["n01443537/a.png"]


def test_truncated_images_are_skipped_even_if_other_code_asks_for_halves(tree, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    root = tree("n01443537/a.png")
    jpeg = encoded(photograph(), "JPEG")
    (root / "n01443537/b.JPEG").write_bytes(jpeg[: len(jpeg) // 2])
    (batch,) = load(root)
    assert batch.indices == (0,)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_cmyk_jpeg(tree):
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red, green, blue = one_pixel(tree, encoded(image, "JPEG", quality=100))
    assert red > 240
    assert green < 15
    assert blue < 15


def test_a_png_that_is_called_jpeg(tree):
    assert one_pixel(tree, encoded(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG")) == [1, 2, 3]


def test_grey_scale(tree):
    assert one_pixel(tree, encoded(Image.new("L", (8, 8), 77), "PNG")) == [77, 77, 77]


def test_alpha_is_dropped(tree):
    assert one_pixel(tree, encoded(Image.new("RGBA", (8, 8), (9, 8, 7, 0)), "PNG")) == [9, 8, 7]


def test_a_palette_with_alpha(tree):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    assert one_pixel(tree, encoded(image, "PNG", transparency=bytes([0, 128]))) == [200, 100, 50]


def test_sixteen_bits_are_scaled_not_clipped(tree):
    image = Image.fromarray(np.full((8, 8), 0x40FF, np.uint16))
    assert one_pixel(tree, encoded(image, "PNG")) == [0x40, 0x40, 0x40]


def test_damaged_exif_data_gives_no_warning_and_orientation_is_not_applied(tree):
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\x01\x0f\0\x02\0\0\xff\xff\0\xff\xff\xff"
    image = Image.new("RGB", (16, 8), (0, 0, 0))
    image.paste((255, 255, 255), (8, 0, 16, 8))
    data = encoded(image, "JPEG", quality=100, exif=exif)
    with pytest.warns(UserWarning, match="Tag data larger than file|Corrupt EXIF data|Truncated File Read"):
        Image.open(io.BytesIO(data))
    assert max(one_pixel(tree, data)) < 15


def test_real_photographs_of_full_size(imagenet_sample):
    selection = whole_selection(imagenet_sample)
    loaded = list(batches(selection, ToTensor(), batch_size=32, workers=2))
    assert sum(len(b.indices) for b in loaded) == 120
    assert all(b.skipped == () for b in loaded)
    path = imagenet_sample / selection.entries[0].sample.path
    expected = np.asarray(Image.open(path).convert("RGB"))[0, 0]
    assert loaded[0].images[0, :, 0, 0].tolist() == expected.tolist()


def test_the_loader_pins_the_images_of_a_batch(monkeypatch):
    """What the loader does on CUDA; without a device torch itself cannot pin."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)
    batch = pin_memory(Batch((0,), torch.zeros(1, 3, 2, 2), ()))
    assert batch == Batch((0,), batch.images, ())
    assert batch.images.eq(1).all()


def test_a_batch_goes_through_a_pipe_where_shared_memory_is_full(tree, monkeypatch):
    root = tree(*(f"n01443537/{i}.png" for i in range(5)))

    def full(self):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    assert first_pixels(load(root, workers=2)) == {i: i for i in range(5)}


def test_images_are_decoded_in_one_process_where_no_other_starts(tree, monkeypatch, caplog):
    root = tree(*(f"n01443537/{i}.png" for i in range(5)))

    def refused(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", refused)
    assert first_pixels(load(root, workers=2)) == {i: i for i in range(5)}
    assert "No space left on device" in caplog.text


SMALL = """
import sys
from tests.images.helpers import first_pixels, whole_selection
from se_probe.images import batches
import torch, numpy as np

def large(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float().repeat(1, 40, 40)

loaded = batches(whole_selection(sys.argv[1]), large, batch_size=4, workers=2)
assert first_pixels(loaded) == {i: i for i in range(12)}
print("whole")
"""


@pytest.mark.skipif(not _may_mount(), reason="a small /dev/shm can be mounted here by nobody")
@pytest.mark.parametrize("size", ["4k", "64k", "2m"])
def test_a_small_dev_shm_holds_no_run_up(tree, size):
    root = tree(*(f"n01443537/{i:02d}.png" for i in range(12)))
    mounted = f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", mounted, "sh", sys.executable, "-c", SMALL, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2])
    assert done.stdout == "whole\n", done.stderr
