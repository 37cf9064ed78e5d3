"""JPEGs decoded by torchvision where the network runs, here on the CPU, against Pillow."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform
from torchvision.models import ResNet50_Weights

from se_probe.errors import SeProbeError
from se_probe.images import DeviceDecoder, batches, open_images, select
from se_probe.labels import imagenet

TRANSFORMS = {
    "timm": create_transform((3, 96, 96), is_training=False, interpolation="bicubic", crop_pct=0.9),
    "torchvision": ResNet50_Weights.IMAGENET1K_V2.transforms(),
}


def load(root, transform, *, decoder=None, workers=0, batch_size=8):
    images = open_images(root, imagenet())
    selection = select(images, images.classes, per_class=1000)
    return list(batches(selection, transform, batch_size=batch_size, workers=workers, decoder=decoder))


@pytest.fixture
def odd(tree):
    """Smooth colour JPEGs, and among them what only Pillow can decode, or nobody."""
    root = tree(*(f"n01443537/{i:02d}.png" for i in range(3)), *(f"n01443537/{i:02d}.jpg" for i in range(3, 11)))
    x = np.linspace(0, 255, 128)
    for path in sorted(root.glob("*/*.jpg")):
        channels = [np.add.outer(x, x) / 2, np.add.outer(x, x[::-1]) / 2, np.full((128, 128), 20 * int(path.stem))]
        Image.fromarray(np.stack(channels, axis=2).astype(np.uint8)).save(path, quality=95)
    folder = root / "n01443537"
    Image.open(folder / "04.jpg").convert("L").save(folder / "04.jpg")
    Image.open(folder / "05.jpg").convert("CMYK").save(folder / "05.jpg")
    whole = (folder / "06.jpg").read_bytes()
    (folder / "06.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "07.jpg").write_bytes(whole[: len(whole) // 2] + b"\xff\xd9")
    (folder / "08.jpg").write_bytes(b"")
    return root


@pytest.mark.parametrize("name", TRANSFORMS)
def test_real_photographs_are_nearly_those_of_pillow(imagenet_sample, name):
    transform = TRANSFORMS[name]
    decoder = DeviceDecoder(transform, "cpu")
    paths = sorted(imagenet_sample.glob("*.JPEG"))[:6]
    found = decoder([path.read_bytes() for path in paths])
    for path, image in zip(paths, found, strict=True):
        expected = transform(Image.open(path).convert("RGB"))
        assert image.shape == expected.shape
        assert image.dtype == torch.float32
        # A grey level is 0.017 after division by the standard deviation.
        assert (image - expected).abs().mean() < 0.02


def test_order_and_skips_are_those_of_pillow(odd):
    transform = TRANSFORMS["timm"]
    by_pillow, on_device = load(odd, transform), load(odd, transform, decoder=DeviceDecoder(transform, "cpu"))
    assert [batch.indices for batch in by_pillow] != [(0, 1, 2, 3, 4, 5, 6, 7), (8, 9, 10)]
    assert [batch.indices for batch in on_device] == [batch.indices for batch in by_pillow]
    assert [batch.skipped for batch in on_device] == [batch.skipped for batch in by_pillow]
    for ours, theirs in zip(on_device, by_pillow, strict=True):
        torch.testing.assert_close(ours.images, theirs.images, rtol=0, atol=0.1)


def test_what_is_no_colour_jpeg_is_decoded_by_pillow(odd):
    transform = TRANSFORMS["timm"]
    (batch, *_) = load(odd, transform, decoder=DeviceDecoder(transform, "cpu"))
    paths = sorted((odd / "n01443537").iterdir())
    for place in (0, 1, 2, 4, 5):
        expected = transform(Image.open(paths[place]).convert("RGB"))
        assert torch.equal(batch.images[batch.indices.index(place)], expected)


def test_workers_change_nothing(odd):
    transform = TRANSFORMS["torchvision"]
    decoder = DeviceDecoder(transform, "cpu")
    alone, pair = load(odd, transform, decoder=decoder), load(odd, transform, decoder=decoder, workers=2)
    assert [batch.indices for batch in alone] == [batch.indices for batch in pair]
    assert [batch.skipped for batch in alone] == [batch.skipped for batch in pair]
    assert all(torch.equal(a.images, b.images) for a, b in zip(alone, pair, strict=True))


def test_a_batch_of_no_jpeg(tree):
    transform = TRANSFORMS["timm"]
    root = tree("n01443537/a.png", "n01443537/b.png")
    (batch,) = load(root, transform, decoder=DeviceDecoder(transform, "cpu"))
    assert batch.indices == (0, 1)


def test_a_jpeg_without_pixels_is_an_error():
    good, bad = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (32, 32), (200, 0, 0)).save(good, "JPEG")
    bad.write(good.getvalue()[:20] + b"\xff\xd9")
    decoder = DeviceDecoder(TRANSFORMS["timm"], "cpu")
    with pytest.raises(RuntimeError):
        decoder([good.getvalue(), bad.getvalue()])


@pytest.mark.parametrize(
    ("transform", "reason"),
    [
        (lambda image: image.size, "no attribute|takes no tensors|not callable"),
        (lambda image: image, "takes no tensors"),
    ],
)
def test_a_transform_of_images_alone_is_refused(transform, reason):
    with pytest.raises(SeProbeError, match=f"cannot be decoded on cpu: .*({reason})"):
        DeviceDecoder(transform, "cpu")


def test_a_device_without_a_decoder_is_refused():
    with pytest.raises(SeProbeError, match="cannot be decoded on meta: torchvision decodes on the CPU there"):
        DeviceDecoder(TRANSFORMS["timm"], "meta")
