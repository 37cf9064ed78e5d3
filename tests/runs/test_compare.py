"""A whole comparison, on the demo and on networks with hostile names."""

import json
import shutil
from html.parser import HTMLParser

import pandas as pd
import pytest

import se_probe
from se_probe.errors import SeProbeError
from se_probe.recording import open_recording
from se_probe.runs.compare import compare, comparison_notes, run_labels
from tests.report import runs as report_runs
from tests.told import told

QUIET = {"progress": False, "report": False, "workers": 0}


def demo(folder, model, **options):
    chosen = {"per_class": 5, "reference_per_class": 0, "classes": "goldfish,pug", **QUIET, **options}
    se_probe.excite(demo=True, model=model, out=folder, **chosen)
    return folder


@pytest.fixture(scope="module")
def demo_runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo")
    return [demo(root / kind, f"demo:{kind}") for kind in ("se", "sk")]


@pytest.fixture(scope="module")
def written(demo_runs, tmp_path_factory):
    with told() as lines:
        page = compare(demo_runs, out=tmp_path_factory.mktemp("out") / "c")
    return page, lines


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory):
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    options = {"names": report_runs.HOSTILE, "model_name": report_runs.HOSTILE_MODEL}
    first = report_runs.run(folders[0], last_name=report_runs.HOSTILE_FILE, **options)
    shutil.copytree(folders[0] / "data", folders[1] / "data")
    return compare([first, report_runs.run(folders[1], **options)], out=folders[0] / "c")


class Page(HTMLParser):
    """Every element with its attributes, and all text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_everything_is_written_beside_the_page(written):
    page, lines = written
    files = {path.relative_to(page.parent).as_posix() for path in page.parent.rglob("*") if path.is_file()}
    kinds = ("png", "pdf", "svg", "csv")
    figures = {f"figures/{stem}.{kind}" for stem in ("profiles", "alignment_1_2") for kind in kinds}
    tables = {f"tables/{name}.csv" for name in ("comparison_sites", "comparison_matches", "comparison_alignment")}
    assert files == {"comparison.html", "run.json", "tables/shared_images.csv", *figures, *tables}
    assert lines[0] == "shared    10 chosen images of 2 classes, by path and class"
    facts = json.loads((page.parent / "run.json").read_text())
    assert [run["label"] for run in facts["runs"]] == ["demo:se", "demo:sk"]
    assert facts["shared_images"] == 10
    assert facts["demo"] is True
    rows = pd.read_csv(page.parent / "tables/comparison_sites.csv")
    assert rows.groupby("run")["depth"].agg(["min", "max", "size"]).to_numpy().tolist() == [[0, 1, 9], [0, 1, 9]]


def test_page_says_what_it_is_and_runs_no_script(written):
    page = Page(written[0].read_text())
    tags = [tag for tag, _ in page.elements]
    assert "script" not in tags
    sources = [attrs["src"].split(",")[0] for tag, attrs in page.elements if tag == "img"]
    assert sources == ["data:image/svg+xml;base64"] * 2
    (policy,) = (a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'; script-src 'none'; style-src 'sha256-")
    assert "drawn stimuli, not\n  photographs" in page.text
    for label in ("demo:se", "demo:sk"):
        assert f"Sites of {label}" in [attrs.get("aria-label") for _, attrs in page.elements]
    for place in ("SE_2_1", "SK_5_3", "pip install se-probe==", "model.weights_sha256"):
        assert place in page.text
    shared = pd.read_csv(written[0].parent / "tables/shared_images.csv")
    assert all(path in page.text for path in shared["path"])
    links = [attrs["href"] for tag, attrs in page.elements if tag == "a" and "/" in attrs["href"]]
    assert all((written[0].parent / link).is_file() for link in links)


def test_hostile_names_stay_text(hostile_page):
    page = Page(hostile_page.read_text())
    assert not [tag for tag, _ in page.elements if tag in {"script", "b"}]
    assert not [attrs for _, attrs in page.elements if any(name.startswith("on") for name in attrs)]
    assert [attrs["src"][:5] for tag, attrs in page.elements if tag == "img"] == ["data:"] * 2
    for name in (*report_runs.HOSTILE, report_runs.HOSTILE_MODEL):
        assert name in page.text


def test_a_network_that_comes_twice_is_told_apart_by_its_folder(hostile_page, demo_runs, tmp_path):
    facts = json.loads((hostile_page.parent / "run.json").read_text())
    name = report_runs.HOSTILE_MODEL
    # Both folders are called "run", so that only the place is left.
    assert [run["label"] for run in facts["runs"]] == [f"{name} (run) #1", f"{name} (run) #2"]
    assert len(facts["notes"]) == 1
    shutil.copytree(demo_runs[0], tmp_path / "copy")
    recordings = [open_recording(path) for path in (demo_runs[0], tmp_path / "copy", demo_runs[1])]
    assert run_labels(recordings) == ["demo:se (se)", "demo:se (copy)", "demo:sk"]


def test_what_limits_a_comparison_is_said(demo_runs, hostile_page):
    first, other = (open_recording(path) for path in (demo_runs[0], hostile_page.parent.parent / "run"))
    data = other.provenance["data"]["title"]
    assert comparison_notes({"a": first, "b": other}) == [
        "the runs have different numbers of chosen images (a 10, b 24); only the images of all runs are used",
        f"the data have different names (demo, {data}); images were matched by path and class",
    ]
    assert comparison_notes({"a": first, "b": open_recording(demo_runs[1])}) == []


def refused(runs, **options):
    with pytest.raises(SeProbeError) as caught:
        compare(runs, **options)
    return str(caught.value)


def test_what_cannot_be_compared_is_refused_and_nothing_written(demo_runs, hostile_page, tmp_path):
    one, other = demo_runs
    assert refused([one]) == "1 run was given; expected two or more to compare"
    store = one / "recording.zarr"
    assert refused([one, store]) == f"{store} was given twice; expected different runs"
    foreign = report_runs.run(tmp_path / "foreign")
    message = refused([one, foreign], out=tmp_path / "c")
    assert message.startswith("the runs (of demo, ")
    shared = "share 0 chosen images of 0 classes, by path and class; expected 10 images of 2 classes at least"
    assert f") {shared}" in message
    assert not (tmp_path / "c").exists()
    assert refused([one, other], out=hostile_page.parent) == (
        f"{hostile_page.parent} already holds a run (figures, tables, run.json); choose another folder with --out, or "
        "replace it with --overwrite."
    )


def test_a_recording_is_never_replaced_by_a_comparison(demo_runs):
    one, other = demo_runs
    message = f"{one} holds a recording; choose another folder for the comparison with --out"
    assert refused([one, other], out=one, overwrite=True) == message
    assert (one / "recording.zarr").is_dir()


def test_the_folder_is_named_after_the_networks(demo_runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports/compare-demo-se-demo-sk").mkdir(parents=True)
    assert compare(demo_runs).as_posix() == "reports/compare-demo-se-demo-sk-2/comparison.html"
