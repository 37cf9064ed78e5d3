"""The experiment of changed images end to end, on small noise and drawings."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from se_probe.errors import SeProbeError
from se_probe.gates import GateRecorder, find_gates
from se_probe.images.changes import Change, changed_transform
from se_probe.models import load_model
from se_probe.runs.change import change, open_change_run
from se_probe.runs.plot import plot
from tests.runs.noise import QUIET, draw_noise
from tests.told import told


@pytest.fixture(scope="module")
def network():
    torch.set_num_threads(1)
    return load_model("test_efficientnet", random_weights=True, model_args={"num_classes": 3})


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    root = draw_noise(tmp_path_factory.mktemp("photographs"), ("alpha", "beta", "gamma"), 4, (60, 72), cells=(6, 7))
    (root / "beta" / "broken.png").write_bytes(b"no image at all")
    return root


def small(photographs, model, out, **options):
    given = {"data": photographs, "model": model, "out": out, "change": ("noise:1,5", "crop:1,2"), "exact": True}
    return change("alpha,beta", **given | QUIET | options)


@pytest.fixture(scope="module")
def run(photographs, network, tmp_path_factory):
    with told() as lines:
        made = small(photographs, network, tmp_path_factory.mktemp("small") / "run")
    return made, lines


def test_gates_are_those_of_changed_images_bit_for_bit(run, photographs, network):
    made, _ = run
    assert list(made.recordings) == ["plain", "noise 1", "noise 5", "crop 2"]
    sites = find_gates(network.network, network.input_size)
    for label, recording in made.recordings.items():
        name, _, strength = label.partition(" ")
        transform = network.transform
        if name != "plain":
            asked = Change(name, float(strength))
            transform = changed_transform(asked, network.transform, network.preprocessing, seed=0)
        paths = recording.images.query("role == 'chosen'")["path"]
        inputs = [transform(Image.open(photographs / path).convert("RGB")) for path in paths]
        with GateRecorder(network.network, sites) as recorder, torch.inference_mode():
            output = network.network(torch.stack(inputs))
        for site in recording.sites:
            np.testing.assert_allclose(recording.gates(site.name), recorder.gates[site.name], atol=1e-6)
        expected = -output.double().logsumexp(1).numpy()
        np.testing.assert_allclose(made.energies[label][paths], expected, atol=1e-5)


def test_reference_images_are_recorded_plain_only(run):
    made, _ = run
    assert set(made.base.images["role"]) == {"chosen", "reference"}
    assert set(made.recordings["noise 1"].images["role"]) == {"chosen"}
    facts = {"name": "noise", "strength": 1.0, "unit": "severity of ImageNet-C, 1 to 5", "seed": 0}
    assert made.recordings["noise 1"].provenance["change"] == facts


def test_the_folder_holds_tables_figures_facts_and_a_page(run):
    made, lines = run
    tables = {path.name for path in (made.path / "tables").iterdir()}
    assert tables == {"change_sites.csv", "change_channels.csv.gz", "change_accuracy.csv", "change_detection.csv"}
    figures = {path.stem for path in (made.path / "figures").iterdir()}
    assert figures == {"change_response", "change_detection", "change_images"}
    facts = json.loads((made.path / "run.json").read_text())
    assert [item["name"] for item in facts["changes"]] == ["plain", "noise", "noise", "crop"]
    page = (made.path / "report.html").read_text()
    sentences = [line.removeprefix("summary").strip() for line in lines if line.startswith("summary")]
    assert len(sentences) == 3
    for sentence in sentences:
        assert sentence.replace("'", "&#39;") in page
    assert "<script" not in page


def test_the_summary_comes_first_then_a_line_a_change_then_the_page(run):
    made, lines = run
    told_lines = [line for line in lines if line.startswith(("summary", "finding", "report"))]
    assert [line.split()[0] for line in told_lines] == ["summary"] * 3 + ["finding"] * 3 + ["report"]
    moved = made.sites.query("condition == 'noise 5'")
    score = made.detection.query("condition == 'noise 5' and score == 'gates' and site == 'all sites'")["auc"].item()
    expected = f"finding   noise 5: gates move at {(moved['pattern'] == 'moves').sum()} of {len(moved)} sites, by "
    (line,) = [line for line in told_lines if "noise 5: " in line]
    assert line.startswith(f"{expected}{moved['moved_sd'].mean():.2f} SD; ")
    assert line.endswith(f"; AUC {score:.2f}")


def test_a_run_is_opened_and_drawn_again_as_it_was(run, tmp_path):
    made, _ = run
    opened = open_change_run(made.path)
    assert set(opened.recordings) == set(made.recordings)
    assert opened.thumbnails.keys() == made.thumbnails.keys()
    keys = ["condition", "score", "site"]
    first, again = (item.detection.sort_values(keys).reset_index(drop=True) for item in (made, opened))
    pd.testing.assert_frame_equal(first, again)
    files = plot(made.path, out=tmp_path)
    assert {path.stem for path in files} == {"change_response", "change_detection", "change_images"}
    assert "noise 5" in repr(opened)


def test_an_incomplete_run_is_not_opened(tmp_path):
    message = f"{tmp_path} holds no complete experiment of changed images (0 complete recordings)"
    with pytest.raises(SeProbeError, match=re.escape(message)):
        open_change_run(tmp_path)


def test_an_earlier_run_is_replaced_only_when_asked(photographs, network, tmp_path):
    small(photographs, network, tmp_path, change="contrast:1", reference_per_class=0)
    with pytest.raises(SeProbeError, match="already holds a run"):
        small(photographs, network, tmp_path, change="contrast:1", reference_per_class=0)
    made = small(photographs, network, tmp_path, change="grey", overwrite=True, reference_per_class=0)
    assert list(made.recordings) == ["plain", "grey 1"]
    assert not (tmp_path / "change-contrast-1").exists()


def test_own_functions_are_tried_before_anything_is_written(photographs, network, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def broken(image, strength):\n    return 7\n")
    with pytest.raises(SeProbeError, match=r"mine\.py:broken returned int for an RGB image of 160×160 pixels"):
        small(photographs, network, tmp_path / "run", change=(f"{file}:broken:1",))
    assert not (tmp_path / "run").exists()
