"""The frame fits on the page, can be read at its printed size, and states what the curves rest on."""

import sys
from io import BytesIO

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from se_probe.errors import SeProbeError
from se_probe.figures import curves_caption, model_line, role_of_excitation, save_figure
from se_probe.figures.frame import freeze_layout
from se_probe.figures.style import house_style
from tests.figures.tables import FOUR, PAPER_PANELS, curves, texts


@pytest.mark.parametrize("demo", [True, False])
def test_demo_label_is_there_when_and_only_when_it_is_a_demo(demo):
    assert ("demo stimuli, not photographs" in texts(role_of_excitation(curves(), demo=demo))) is demo


@pytest.mark.parametrize("sites", [["SE_5_3"], PAPER_PANELS])
def test_nothing_is_cut_off_or_laid_over_the_legend(sites):
    names = [*FOUR, "a folder name that is so long that no legend of a figure can hold it", "tabby"]
    figure = role_of_excitation(curves(sites, names), demo=True, title="long " * 30, caption="word " * 60)
    figure.draw_without_rendering()
    page, legend = figure.bbox, figure.legends[0].get_window_extent()
    parts = [*figure.texts, figure.legends[0]]
    boxes = [part.get_window_extent() for part in parts] + [axes.get_tightbbox() for axes in figure.axes]
    for box in boxes:
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert page.y0 <= box.y0
        assert box.y1 <= page.y1
    assert all(axes.get_tightbbox().y1 < legend.y0 for axes in figure.axes)


def test_figure_has_the_width_of_a_papers_column():
    assert role_of_excitation(curves(), demo=True).get_figwidth() == pytest.approx(84 / 25.4)
    assert role_of_excitation(curves(PAPER_PANELS), demo=True).get_figwidth() == 7.16


def test_no_text_is_smaller_than_six_points():
    figure = role_of_excitation(curves(PAPER_PANELS), demo=True, caption="caption")
    texts_shown = [text for text in figure.findobj(mpl.text.Text) if text.get_text()]
    assert min(text.get_fontsize() for text in texts_shown) >= 6


def test_a_name_is_said_once():
    assert (
        model_line({"name": "legacy_seresnet50.in1k", "weights": "pretrained"}) == "legacy_seresnet50.in1k, pretrained"
    )
    assert model_line({"name": "a.py:net", "weights": "as built by a.py:net"}) == "a.py:net"
    assert model_line({"name": "se", "weights": "bundled"}, complete=False) == "se, bundled · INCOMPLETE RUN"


def test_caption_has_network_images_and_reference():
    table = curves(count=50)
    table.loc[table["role"] == "reference", "count"] = 500
    assert curves_caption("a network", table) == (
        "a network · 50 images per class · all classes (10): 500 images, equal weight per class"
    )


@pytest.mark.parametrize(("counts", "words"), [((7, 12), "7 to 12 images per class"), ((1, 1), "1 image per class")])
def test_caption_counts_images(counts, words):
    table = pd.concat([curves(classes=["pug"], reference=None, count=count) for count in counts])
    assert curves_caption("se", table) == f"se · {words}"


def drawn(nudge=0.0):
    figure = Figure(figsize=(4, 2), layout="constrained")
    for axes in figure.subplots(1, 2):
        axes.imshow(np.eye(3))
    freeze_layout(figure)
    first, second = figure.axes
    first.set_position([value + nudge for value in first.get_position(original=True).bounds])
    return figure, second


def test_panels_stay_where_they_were_laid_out():
    figure, second = drawn()
    before = second.get_position(original=True).bounds
    second.set_ylabel("a label\nthat needs\nmuch room", fontsize=30)
    figure.draw_without_rendering()
    np.testing.assert_array_equal(second.get_position(original=True).bounds, before)


def test_noise_of_the_solver_does_not_reach_the_file():
    contents = []
    for nudge in (0.0, 1e-13):
        figure, _ = drawn(nudge)
        freeze_layout(figure)
        stream = BytesIO()
        with house_style():
            figure.savefig(stream, format="svg", metadata={"Date": None})
        contents.append(stream.getvalue())
    assert contents[0].count(b"<image") == 2
    assert contents[0] == contents[1]


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
