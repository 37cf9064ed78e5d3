import shutil
from io import BytesIO

import pytest
from PIL import Image

from se_probe.recording import open_recording
from se_probe.report import make_thumbnails
from se_probe.report.thumbnails import SIDE


@pytest.fixture
def data(plain_run, tmp_path):
    """The images of the run, at another place."""
    return shutil.copytree(plain_run.parent / "data", tmp_path / "data")


def test_pictures_are_small_and_those_of_their_paths(plain_run, data):
    Image.new("RGB", (300, 150), (250, 10, 10)).save(data / "1" / "4.png")
    made = make_thumbnails(open_recording(plain_run), ["1/4.png", "0/0.png"], data)
    assert list(made.pictures) == ["1/4.png", "0/0.png"]
    picture = Image.open(BytesIO(made.pictures["1/4.png"]))
    assert picture.format == "WEBP"
    assert picture.size == (SIDE, SIDE // 2)
    red, green, blue = picture.convert("RGB").getpixel((10, 10))
    assert red > 230
    assert max(green, blue) < 40
    assert made.note == f"Thumbnails were made from {data} together with this report."


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"location": "https://example.invalid/images.tar"},
        {"location": None, "title": "wds/https://example.invalid/{0..9}.tar"},
        {"location": None, "title": "wds/PIPE:touch pwned"},
        {"location": None, "title": "hfds/someone/images"},
        {"location": "/", "title": "images"},
    ],
)
def test_nothing_that_a_recording_names_is_opened(plain_run, tmp_path, monkeypatch, facts):
    monkeypatch.chdir(tmp_path)
    recording = open_recording(plain_run)
    recording.provenance["data"] |= facts
    for name in ("open_images", "list_place"):
        monkeypatch.setattr(f"se_probe.report.thumbnails.{name}", lambda *given: pytest.fail(f"{given} was opened"))
    made = make_thumbnails(recording, ["2/7.png"])
    assert made.pictures == {}
    assert "--data" in made.note
    assert list(tmp_path.iterdir()) == []


def test_images_that_are_gone_are_counted(plain_run, data):
    (data / "0" / "0.png").unlink()
    (data / "0" / "1.png").write_bytes(b"no image")
    made = make_thumbnails(open_recording(plain_run), ["0/0.png", "0/1.png", "0/2.png"], data)
    assert list(made.pictures) == ["0/2.png"]
    assert made.note.endswith("2 of the images can no longer be opened and are named by their paths.")


def test_data_that_are_gone_are_said_so(plain_run, tmp_path):
    made = make_thumbnails(open_recording(plain_run), ["0/0.png"], tmp_path / "gone")
    assert made.pictures == {}
    assert made.note == (
        f"There are no thumbnails, and images are named by their paths: {tmp_path / 'gone'} does not exist; expected a "
        "folder of images, a .tar file, or a name such as hfds/NAME"
    )


def test_no_more_than_the_most(plain_run, monkeypatch):
    monkeypatch.setattr("se_probe.report.thumbnails.MOST", 2)
    made = make_thumbnails(open_recording(plain_run), ["0/0.png", "0/1.png", "0/2.png"], plain_run.parent / "data")
    assert list(made.pictures) == ["0/0.png", "0/1.png"]
    assert made.note.endswith("Only the first 2 of 3 images have one; the others are named by their paths.")


def test_drawings_of_the_demo_are_drawn_again(demo_run):
    recording = open_recording(demo_run)
    paths = recording.images["path"].tolist()
    assert list(make_thumbnails(recording, paths).pictures) == paths
