"""Looking at the user's images: numbers against hooks and the recording, refusals in a line."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import se_probe
from se_probe.errors import SeProbeError
from se_probe.models import load_model

IMAGES = ["demo/goldfish/0001", "demo/pug/0002", "demo/cliff/0003"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("look") / "run"
    se_probe.excite("goldfish,pug", demo=True, per_class=12, out=folder, report=False, progress=False)
    return folder


@pytest.fixture(scope="module")
def found(run):
    return se_probe.look(IMAGES, against=run, top=6, progress=False)


def test_gates_are_the_factors_and_answers_the_softmax_of_the_network(found):
    model = load_model("demo:se")
    with torch.no_grad(), se_probe.GateRecorder(model.network) as recorder:
        logits = model.network(found.pixels)
    for name, gates in recorder.gates.items():
        rows = found.gates[found.gates["site"] == name].sort_values(["image", "channel"])
        np.testing.assert_array_equal(rows["gate"].to_numpy(np.float32).reshape(gates.shape), gates.numpy())
    probability = logits.double().softmax(1)
    first = found.answers.groupby("image").first()
    np.testing.assert_allclose(first["probability"], probability.max(1).values, rtol=1e-12)
    assert first["class"].tolist() == [model.labels.classes[unit].name for unit in logits.argmax(1)]


def test_references_are_means_over_all_classes_of_the_run(found, run):
    recording = se_probe.open_recording(run)
    means = recording.moments("SE_5_2")["mean"].mean("class").to_numpy()
    rows = found.gates[(found.gates["site"] == "SE_5_2") & (found.gates["image"] == 0)].sort_values("channel")
    np.testing.assert_allclose(rows["reference"], means, rtol=1e-12)


def test_an_effect_is_near_what_replacing_the_gate_does(found):
    network = load_model("demo:se").network
    rows = found.gates[(found.gates["site"] == "SE_5_3") & (found.gates["image"] == 1)]
    strongest = rows.loc[rows["effect"].abs().nlargest(20).index]
    exact = []
    with torch.no_grad():
        clean = network(found.pixels[1:2])[0]
        for row in strongest.to_dict("records"):
            gates = torch.tensor(rows.sort_values("channel")["gate"].to_numpy(np.float32))
            gates[row["channel"]] = row["reference"]
            with se_probe.intervene(network, {"SE_5_3": se_probe.gates.Constant(gates)}):
                exact.append(float((network(found.pixels[1:2])[0] - clean)[clean.argmax()]))
    # ReLUs lie between the gate and the logit, so that the first order is exact for most channels, not for all.
    assert np.corrcoef(strongest["effect"], exact)[0, 1] > 0.9
    assert np.isclose(strongest["effect"], exact, rtol=0.05).mean() > 0.5


def test_the_gates_shown_are_the_most_unusual_and_say_where_their_evidence_is(found):
    shown = found.shown(0)
    assert len(shown) == 6
    assert (shown["deviation"].abs().diff().dropna() <= 0).all()
    assert shown["evidence"].notna().any()
    assert {(0, row["site"], row["channel"]) for row in shown.to_dict("records")} <= set(found.maps)
    assert "kept images of the run" in found.unusual.sentence(0)
    assert found.demo
    assert "goldfish" in found._repr_html_()


def test_a_file_is_looked_at_without_a_run_by_the_largest_effects(tmp_path):
    path = tmp_path / "mine.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)).save(path)
    found = se_probe.look([path], model="demo:sk", top=5, progress=False)
    shown = found.shown(0)
    assert found.unusual is None
    assert set(shown["reference"]) == {0.5}
    assert (shown["effect"].abs().diff().dropna() <= 0).all()
    assert set(found.gates["branch"]) == {0, 1}


def test_the_largest_effects_are_shown_where_they_are_asked_for(run):
    found = se_probe.look(IMAGES[:1], against=run, by="effect", top=4, progress=False)
    assert (found.shown(0)["effect"].abs().diff().dropna() <= 0).all()
    assert found.shown(0)["effect"].abs().max() == found.gates["effect"].abs().max()


def test_the_page_holds_what_was_found_and_makes_no_request(run, tmp_path):
    found = se_probe.look(IMAGES[:2], against=run, top=4, out=tmp_path / "out", progress=False)
    page = found.page.read_text()
    assert found.page == tmp_path / "out" / "look.html"
    for place, path in enumerate(IMAGES[:2]):
        assert path in page
        assert found.answer(place) in page
        assert found.shown(place)["site"][0] in page
    assert page.count("data:image/") == 2
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    assert "Demo." in page
    gates = pd.read_csv(tmp_path / "out" / "tables" / "gates.csv.gz")
    np.testing.assert_allclose(gates["effect"], found.gates["effect"], rtol=1e-6)
    with pytest.raises(SeProbeError, match="overwrite"):
        se_probe.look(IMAGES[:1], against=run, out=tmp_path / "out", progress=False)


def test_what_cannot_be_looked_at_is_refused_in_a_line(tmp_path, run):
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    for images, options, told_of in (
        ([text], {"model": "demo:se"}, "text.jpg cannot be decoded"),
        ([tmp_path / "none.jpg"], {"model": "demo:se"}, "none.jpg cannot be decoded"),
        (IMAGES, {"model": "demo:se", "by": "deviation"}, "--against RUN"),
        (["demo/goldfish"], {"model": "demo:se"}, "expected demo/CLASS/NUMBER"),
        (["demo/dragon/0001"], {"model": "demo:se"}, "dragon"),
        (IMAGES, {"against": tmp_path}, "recording"),
        (IMAGES, {"against": run, "model": "demo:sk"}, "the network is demo:sk"),
    ):
        with pytest.raises(SeProbeError, match=told_of) as error:
            se_probe.look(images, progress=False, **options)
        assert "\n" not in str(error.value)
