import base64

from se_probe.report.figures import run_figures


def test_papers_come_first_and_the_smaller_picture_is_taken(tmp_path):
    for name, size in {
        "anything_else.svg": 10,
        "within_class.svg": 10,
        "role_of_excitation.svg": 300,
        "role_of_excitation.png": 200,
        "role_of_excitation.csv": 5,
    }.items():
        (tmp_path / name).write_bytes(b"x" * size)
    figures = run_figures(tmp_path)
    assert [figure.title for figure in figures] == ["Role of excitation", "Within-class variation", "Anything else"]
    head, _, data = figures[0].picture.partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data) == b"x" * 200
    folder = tmp_path.name
    assert figures[0].files == {
        "svg": f"{folder}/role_of_excitation.svg",
        "png": f"{folder}/role_of_excitation.png",
        "csv": f"{folder}/role_of_excitation.csv",
    }


def test_no_figures(tmp_path):
    assert run_figures(tmp_path / "figures") == []


def test_a_figure_for_one_column_is_not_blown_up(tmp_path):
    (tmp_path / "one.svg").write_text('<svg height="3in" width="252pt" viewBox="0 0 252 200"></svg>')
    (tmp_path / "one.png").write_bytes(b"smaller")
    (tmp_path / "two.svg").write_text('<svg height="3in" width="515.5pt" viewBox="0 0 515.5 200"></svg>')
    assert [(figure.title, figure.wide) for figure in run_figures(tmp_path)] == [("One", False), ("Two", True)]
