"""Runs with plain and with hostile names, and a real browser without a network."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from se_probe.report import write_report
from tests.report import runs
from tests.report.browser import Browser


@pytest.fixture(scope="session")
def plain_run(tmp_path_factory) -> Path:
    return runs.run(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory) -> Path:
    return runs.demo_run(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def plain_page(plain_run) -> Path:
    return write_report(plain_run, findings=[runs.FINDING], data=plain_run.parent / "data")


@pytest.fixture(scope="session")
def dictionary_page(tmp_path_factory) -> Path:
    """The plain run with words, effects, factors and maps of channels."""
    folder = tmp_path_factory.mktemp("dictionary")
    return write_report(runs.with_dictionary(runs.run(folder)), data=folder / "data")


@pytest.fixture(scope="session")
def hostile_page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    run = runs.run(folder, runs.HOSTILE, runs.HOSTILE_MODEL, runs.HOSTILE_FILE)
    (run / "figures" / f"{runs.HOSTILE_FILE}").write_bytes((run / "figures" / "within_class.png").read_bytes())
    return write_report(run, findings=[runs.HOSTILE_FINDING], data=folder / "data")


@pytest.fixture(scope="session")
def browser():
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed; `make browser` installs it on Debian")
    pytest.importorskip("selenium", reason="selenium is not installed; it is among the dev extras")
    os.environ["SE_AVOID_STATS"] = "true"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        opened = Browser(profile)
        yield opened
        opened.close()
