import gc
import io
import os
import tarfile

import pytest

from se_probe.errors import SeProbeError
from se_probe.images import batches, open_images, select
from se_probe.labels import imagenet
from tests.images.helpers import first_pixels, pack, to_first_pixel


def all_first_pixels(images, workers=0):
    selection = select(images, images.classes, per_class=9)
    return {
        selection.entries[i].sample.path: value
        for i, value in first_pixels(batches(selection, to_first_pixel, batch_size=2, workers=workers)).items()
    }


@pytest.mark.parametrize("workers", [0, 2])
def test_a_tar_is_laid_out_like_a_folder(tree, workers):
    names = ["val/n02110958/a.JPEG", "val/n01443537/b.png", "val/n01443537/._b.png"]
    tar = pack(tree(*names) / "data.tar", tree(*names), names)
    images = open_images(tar, imagenet())
    assert [s.path for s in images.samples] == ["val/n01443537/b.png", "val/n02110958/a.JPEG"]
    assert images.layout == "folders below val/ named by wnid (2 classes, 2 images)"
    assert images.ignored == 1
    assert all_first_pixels(images, workers) == {"val/n02110958/a.JPEG": 0, "val/n01443537/b.png": 1}


def test_a_folder_of_tars_one_for_each_class(tree):
    root = tree("a.png", "b.png", "c.png")
    folder = root / "train"
    folder.mkdir()
    pack(folder / "n01443537.tar", root, ["a.png"])
    pack(folder / "n02110958.tar", root, ["b.png", "c.png"])
    images = open_images(folder, imagenet())
    assert [s.path for s in images.samples] == ["n01443537/a.png", "n02110958/b.png", "n02110958/c.png"]
    assert all_first_pixels(images) == {"n01443537/a.png": 0, "n02110958/b.png": 1, "n02110958/c.png": 2}


def test_a_tar_of_tars(tree):
    root = tree("a.png", "b.png")
    pack(root / "n01443537.tar", root, ["a.png"])
    pack(root / "n02110958.tar", root, ["b.png"])
    tar = pack(root / "all.tar", root, ["n01443537.tar", "n02110958.tar"])
    assert all_first_pixels(open_images(tar, imagenet())) == {"n01443537/a.png": 0, "n02110958/b.png": 1}


def test_a_label_file_within_a_tar(tree):
    root = tree("x.png")
    (root / "labels.txt").write_text("x.png 254")
    images = open_images(pack(root / "data.tar", root, ["x.png", "labels.txt"]), imagenet())
    assert [s.image_class.name for s in images.samples] == ["pug"]


# timm leaves the tar open; it is closed before the next test.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_reader_agrees_with_timms(tree):
    from timm.data import create_dataset

    names = [f"{i}/{j}.png" for i in (10, 2, 0) for j in (0, 1)]
    root = tree(*names)
    tar = pack(root / "data.tar", root, names)
    dataset = create_dataset("", root=str(tar), cache_tarinfo=False)
    theirs = {dataset.filename(i): dataset[i][0].getpixel((0, 0))[0] for i in range(6)}
    del dataset
    gc.collect()
    assert all_first_pixels(open_images(tar, None)) == theirs


@pytest.mark.parametrize(("content", "reason"), [(b"no tar at all", "truncated header"), (b"", "empty file")])
def test_a_file_that_is_no_tar(tmp_path, content, reason):
    path = tmp_path / "data.tar"
    path.write_bytes(content)
    with pytest.raises(SeProbeError) as caught:
        open_images(path, None)
    assert str(caught.value) == (
        f"{path} is not a readable .tar file ({reason}); expected a folder of images or a whole, uncompressed tar: "
        "unpack a compressed one first"
    )


def test_a_compressed_tar(tmp_path):
    path = tmp_path / "data.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("x.png"), io.BytesIO())
    with pytest.raises(SeProbeError, match="unpack a compressed one first"):
        open_images(path, None)


def test_a_folder_that_cannot_be_read(tree, monkeypatch):
    root = tree("n01443537/a.png")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SeProbeError) as caught:
        open_images(root, None)
    assert str(caught.value) == f"{root} cannot be read (Permission denied); expected a readable folder"


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_tar_that_was_cut_short_is_refused(tree, share):
    names = [f"n01443537/{i}.png" for i in range(8)]
    root = tree(*names)
    whole = pack(root / "data.tar", root, names).read_bytes()
    with tarfile.open(root / "data.tar") as tar:
        end = tar.getmembers()[-1].offset_data + 512
    for length in {int(end * share), int(end * share) // 512 * 512, 2048, end}:
        (root / "cut.tar").write_bytes(whole[:length])
        with pytest.raises(SeProbeError, match=r"cut\.tar is not a readable \.tar file"):
            open_images(root / "cut.tar", imagenet())


def test_a_tar_that_is_damaged_within_is_refused(tree):
    names = [f"n01443537/{i}.png" for i in range(4)]
    root = tree(*names)
    path = pack(root / "data.tar", root, names)
    with tarfile.open(path) as tar:
        header = tar.getmembers()[2].offset
    with path.open("r+b") as stream:
        stream.seek(header)
        stream.write(b"x" * 512)
    with pytest.raises(SeProbeError, match=f"damaged at byte {header}"):
        open_images(path, imagenet())


def test_a_tar_within_a_tar_that_was_cut_short_is_refused(tree):
    root = tree("n01443537/a.png", "n01443537/b.png")
    inner = pack(root / "n01443537.tar", root, ["n01443537/a.png", "n01443537/b.png"])
    inner.write_bytes(inner.read_bytes()[:1024])
    with pytest.raises(SeProbeError, match=r"outer\.tar is not a readable \.tar file"):
        open_images(pack(root / "outer.tar", root, ["n01443537.tar"]), imagenet())


def test_a_pipe_that_is_called_tar_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.tar")
    for place in (tmp_path, tmp_path / "x.tar", f"wds/{tmp_path}/x.tar"):
        with pytest.raises(SeProbeError):
            open_images(place, imagenet())
