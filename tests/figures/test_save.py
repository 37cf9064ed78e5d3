"""Four files, whole, reproducible, with the numbers behind the figure."""

import sys

import pandas as pd
import pytest
from PIL import Image

from se_probe.errors import SeProbeError
from se_probe.figures import role_of_excitation, save_figure
from tests.figures.tables import curves

TABLE = curves()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("figures") / "new"
    return save_figure(role_of_excitation(TABLE, demo=True), TABLE, directory, "role_of_excitation")


def test_files_and_nothing_else(saved):
    names = [f"role_of_excitation.{suffix}" for suffix in ("png", "pdf", "svg", "csv")]
    assert [path.name for path in saved] == names
    assert sorted(path.name for path in saved[0].parent.iterdir()) == sorted(names)


def test_png_has_three_hundred_dots_an_inch_and_the_title(saved):
    with Image.open(saved[0]) as image:
        assert image.width == int(300 * 84 / 25.4)
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert image.info["Title"] == "Role of excitation"


def test_text_stays_text_in_vector_files(saved):
    assert b"/Type0" in saved[1].read_bytes() or b"/TrueType" in saved[1].read_bytes()
    assert b"/Type3" not in saved[1].read_bytes()
    svg = saved[2].read_text(encoding="utf-8")
    assert ">demo stimuli, not photographs</text>" in svg
    assert "<title>Role of excitation</title>" in svg


def test_csv_holds_the_curves(saved):
    read = pd.read_csv(saved[3], converters={"mean": float, "std": float})
    assert read["mean"].tolist() == TABLE["mean"].tolist()
    pd.testing.assert_frame_equal(read, TABLE, rtol=1e-14, atol=0, check_dtype=False)


def test_same_figure_gives_same_bytes(saved, tmp_path):
    again = save_figure(role_of_excitation(TABLE, demo=True), TABLE, tmp_path, "role_of_excitation")
    for one, other in zip(saved, again, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.suffix


def test_unwritable_folder_leaves_nothing(tmp_path):
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(SeProbeError) as error:
        save_figure(role_of_excitation(TABLE, demo=False), TABLE, tmp_path / "taken", "figure")
    assert str(error.value) == (
        f"cannot write {tmp_path / 'taken' / 'figure.png'}: File exists; choose another folder with --out"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_no_pyplot_figure_is_left_open(saved):
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []
