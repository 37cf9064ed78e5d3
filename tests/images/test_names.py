"""File names of every kind: they are kept apart, shown in one line, and lead back to their files."""

import os
import tarfile
import unicodedata
from pathlib import Path

import pytest

from se_probe.errors import SeProbeError
from se_probe.images import batches, open_images, select
from se_probe.labels import imagenet, label_space_from_names
from tests.images.helpers import NFC, NFD, SHOWN, first_pixels, to_first_pixel, write_image


@pytest.fixture
def named(tmp_path):
    """A folder of images with all of these names, the i-th of value i."""
    folder = tmp_path / "n01443537"
    for value, name in enumerate(SHOWN):
        write_image(folder / os.fsdecode(name), value)
    return tmp_path


def pixels_by_name(images, workers=0):
    selection = select(images, images.classes, per_class=99)
    loaded = list(batches(selection, to_first_pixel, batch_size=5, workers=workers))
    assert not [skip for batch in loaded for skip in batch.skipped]
    return {selection.entries[i].sample.path: value for i, value in first_pixels(loaded).items()}


@pytest.mark.parametrize("workers", [0, 2])
def test_each_name_is_shown_in_one_line_and_leads_to_its_file(named, workers):
    found = pixels_by_name(open_images(named, imagenet()), workers)
    assert found == {f"n01443537/{name}": value for value, name in enumerate(SHOWN.values())}
    assert all(len(name.splitlines()) == 1 and name.encode() for name in found)


def test_names_within_a_tar(named):
    with tarfile.open(named / "all.tar", "w") as tar:
        tar.add(named / "n01443537", "n01443537")
    found = pixels_by_name(open_images(named / "all.tar", imagenet()))
    assert found == {f"n01443537/{name}": value for value, name in enumerate(SHOWN.values())}


def test_two_files_that_would_be_shown_alike_are_not_taken_for_one(tmp_path):
    for name in (b"a\xe9.png", b"a\\xe9.png"):
        write_image(tmp_path / "n01443537" / os.fsdecode(name))
    with pytest.raises(SeProbeError) as caught:
        open_images(tmp_path, imagenet())
    assert str(caught.value) == (f"{tmp_path} holds two files that are both shown as n01443537/a\\xe9.png; rename one")


def test_a_data_folder_whose_own_name_is_no_text(tmp_path):
    root = tmp_path / os.fsdecode(b"caf\xe9\n")
    write_image(root / "n01443537/a.png", 3)
    images = open_images(root, imagenet())
    assert images.title == f"{tmp_path}/caf\\xe9\\x0a"
    assert images.location is None
    assert pixels_by_name(images) == {"n01443537/a.png": 3}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_class_folders_with_accents_however_they_are_written(tmp_path, form):
    network = label_space_from_names(["Käse", "Brot"], "a network")
    write_image(tmp_path / unicodedata.normalize(form, "Käse") / "a.png")
    (sample,) = open_images(tmp_path, network).samples
    assert sample.image_class == network.classes[0]
    assert network.resolve(unicodedata.normalize("NFD", "KÄSE")).image_class.index == 0


@pytest.mark.parametrize("labels", [None, imagenet()])
@pytest.mark.parametrize("names", [("Katze", "katze"), ("two words", "two_words"), ("\u00e9", "e\u0301")])
def test_class_folders_that_differ_in_spelling_only(tmp_path, names, labels):
    for name in names:
        write_image(tmp_path / name / "a.png")
    with pytest.raises(SeProbeError, match=r"^[^\n]+ both mean [^\n]+; expected each class once$"):
        open_images(tmp_path, labels)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("my photo 1.png", "my photo 1.png 7"),
        ("my photo 1.png", "my photo 1.png\t7"),
        ("a, b.png", "a, b.png,7"),
        ("a, b.png", '"a, b.png",7'),
        ('say "x".png', '"say ""x"".png",7'),
        ("a b.png", "val/a b.png  n01443543"),
        (NFD, f"{NFC} 7"),
        (NFC, f"{NFD},7"),
        ("x.y.png", "x.y 7"),
    ],
)
def test_label_files_name_images_of_any_name(tmp_path: Path, name, line):
    write_image(tmp_path / "data" / name)
    (tmp_path / "data" / "labels.txt").write_text(line, encoding="utf-8")
    (sample,) = open_images(tmp_path / "data", None).samples
    assert sample.path == name
    assert (sample.image_class.wnid or str(sample.image_class.index)) in line
