"""Every notebook runs from top to bottom in a kernel of this interpreter, and is committed as prose and code only."""

import os
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LEAST_PROSE = 0.48  # a share of the cells
CELL_SECONDS = 300

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A kernel of the interpreter that runs the tests, untouched by the user's own kernels and start-up files."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("MPLBACKEND", raising=False)
    specs = KernelSpecManager(kernel_dirs=[])  # no folders: ipykernel's own specification is left
    return AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs)


def test_there_are_six_notebooks():
    assert [path.name[:2] for path in NOTEBOOKS] == ["1-", "2-", "3-", "4-", "5-", "6-"]


@every_notebook
def test_runs_from_top_to_bottom(path, kernel, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    folder = tmp_path / "work"
    folder.mkdir()
    place = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, km=kernel, timeout=CELL_SECONDS, resources=place)
    client.execute(cleanup_kc=True)  # ends the kernel, and closes its sockets
    if "EXECUTED_NOTEBOOKS" in os.environ:  # `make docs` shows them
        kept = FOLDER.parent / os.environ["EXECUTED_NOTEBOOKS"] / path.name
        kept.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, kept)

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    assert [cell.source for cell in notebook.cells if _shows_figure_as_text(cell)] == []
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert list(folder.iterdir()) == []


@every_notebook
def test_is_committed_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.outputs for cell in code] == [[]] * len(code)
    assert [cell.execution_count for cell in code] == [None] * len(code)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


@every_notebook
def test_is_half_prose(path):
    cells = nbformat.read(path, as_version=4).cells
    prose = [cell for cell in cells if cell.cell_type == "markdown"]
    assert len(prose) >= LEAST_PROSE * len(cells)
    assert cells[0].cell_type == "markdown"
    assert "demo" in cells[0].source


def _shows_figure_as_text(cell):
    """Whether a cell ends in a figure of which the reader sees no more than its size."""
    shown = [output.get("data", {}) for output in cell.get("outputs", [])]
    return any(data.get("text/plain", "").startswith("<Figure") and "image/png" not in data for data in shown)
