"""Folding end to end: on noise and drawings, and on real photographs and checkpoints where they are."""

import json
import re

import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import se_probe
from se_probe.cli import app
from se_probe.errors import SeProbeError
from se_probe.folding import load_folded
from se_probe.gates import find_gates
from se_probe.models import load_model
from se_probe.recording import open_recording
from tests.runs.noise import QUIET, draw_noise
from tests.shared_files import MODELS, TINY_IMAGENET, needs_shared
from tests.told import told

SMALL = {"model": "test_efficientnet", "random_weights": True, "model_args": {"num_classes": 3}}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    torch.set_num_threads(1)
    return draw_noise(tmp_path_factory.mktemp("photographs"), ("alpha", "beta", "gamma"), 6)


@pytest.fixture(scope="module")
def run(photographs, tmp_path_factory):
    """Nine images to search on: half of them may change sides."""
    folder = tmp_path_factory.mktemp("run") / "run"
    options = {**SMALL, **QUIET, "data": photographs, "out": folder, "max_loss": 60}
    with told() as lines:
        return se_probe.fold(**options), lines


def test_the_folder_holds_the_network_and_all_that_led_to_it(run):
    result, lines = run
    assert sorted(path.name for path in result.path.iterdir()) == ["folded", "recording.zarr", "run.json", "tables"]
    assert result.folder == result.path / "folded"
    facts = json.loads((result.path / "run.json").read_text())
    assert facts["complete"] is True
    assert facts["fold"] == result.facts["fold"]
    kept = json.loads((result.folder / "folded.json").read_text())
    assert kept["fold"] == result.facts["fold"]
    assert kept["command"].startswith("se_probe.fold(model='test_efficientnet', random_weights=True, ")
    assert [site["site"] for site in kept["sites"]] == result.fixed
    sites = pd.read_csv(result.path / "tables" / "fold_sites.csv")
    assert sites["image_sd"].is_monotonic_increasing
    assert len(pd.read_csv(result.path / "tables" / "fold_trials.csv")) == len(result.trials)
    assert any(line.startswith("folded    ") for line in lines)


def test_constants_are_the_mean_gates_of_the_search_half(run, photographs):
    result, _ = run
    model = load_model("test_efficientnet", random_weights=True, model_args={"num_classes": 3})
    searched = open_recording(result.path).images["path"]
    assert len(searched) == 9
    batch = torch.stack([model.transform(Image.open(photographs / path).convert("RGB")) for path in searched])
    sites = find_gates(model.network, model.input_size)
    caught, handles = {}, []
    for site in sites:
        module = model.network.get_submodule(site.hook_point.module)
        handles.append(module.register_forward_hook(lambda _m, _i, out, name=site.name: caught.update({name: out})))
    with torch.no_grad():
        model.network(batch)
    for handle in handles:
        handle.remove()
    means = {name: gate.double().flatten(1).mean(0) for name, gate in caught.items()}
    spread = {name: float(gate.double().flatten(1).var(0).mean().sqrt()) for name, gate in caught.items()}
    stored = result.sites.set_index("site")["image_sd"]
    for name, value in spread.items():
        assert stored[name] == pytest.approx(value, rel=1e-4)
    # Independent of interventions: hooks that multiply by the means in the place of the gates.
    for site in sites:
        if site.name in result.fixed:
            constant = means[site.name].float()[None, :, None, None]
            model.network.get_submodule(site.module).register_forward_hook(lambda _m, args, _o, c=constant: args[0] * c)
    with torch.no_grad():
        expected, found = model.network(batch), load_folded(result.folder).network(batch)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


def test_what_was_measured_is_told(run):
    facts = run[0].facts["fold"]
    assert facts["measure"] == "agreement with the untouched network"
    assert facts["refusal"] == ""
    assert facts["deviation"] <= facts["tolerance"] == pytest.approx(1e-5, rel=0.01)
    loss = facts["held_out"]
    assert (loss["images"], loss["before"], loss["won"]) == (9, 100.0, 0)
    assert loss["low"] <= loss["points"] <= loss["high"]
    assert facts["size"]["parameters_after"] < facts["size"]["parameters_before"]
    assert facts["size"]["bytes_after"] < facts["size"]["bytes_before"]
    assert facts["timing"]["pairs"] >= 10


def test_too_few_images_are_refused_before_the_first_pass(photographs, tmp_path):
    message = (
        "with 9 search images, a loss of 25.20 points cannot be excluded even if no answer changes; 553 are "
        "needed for 0.5 points: give more (--per-class), or allow more (--max-loss 25.2)."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        se_probe.fold(**SMALL, **QUIET, data=photographs, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_forced_sites_are_folded_and_the_loss_is_told(photographs, tmp_path):
    model = load_model("test_efficientnet", random_weights=True, model_args={"num_classes": 3})
    site = find_gates(model.network, model.input_size)[0].name
    result = se_probe.fold(**SMALL, **QUIET, data=photographs, out=tmp_path / "run", sites=[site])
    assert result.fixed == [site]
    assert result.facts["fold"]["decided"] == "forced by sites"
    assert result.trials.empty
    assert "held-out images" in result.facts["fold"]["verdict"]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"max_loss": 0}, "--max-loss 0 was given; expected a number above 0."), ({"sites": ["SE_9_9"]}, "SE_9_9")],
)
def test_mistakes_write_nothing(photographs, tmp_path, options, message):
    with pytest.raises(SeProbeError, match=message):
        se_probe.fold(**SMALL, **QUIET, data=photographs, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_command_line(photographs, tmp_path):
    arguments = ["fold", "--model", "test_efficientnet", "--random-weights", "--model-arg", "num_classes=3"]
    arguments += ["--data", str(photographs), "--workers", "0"]
    given = [*arguments, "--out", str(tmp_path / "a"), "--max-loss", "60", "--json"]
    done = CliRunner().invoke(app, given, catch_exceptions=False)
    assert done.exit_code == 0
    facts = json.loads(done.stdout)
    assert facts["folded"] == str(tmp_path / "a" / "folded")
    assert facts["fixed"]
    refused = [*arguments, "--out", str(tmp_path / "b"), "--max-loss", "0.5"]
    with pytest.raises(SeProbeError, match=r"553 are needed for 0\.5 points"):
        CliRunner().invoke(app, refused, catch_exceptions=False)


@needs_shared
def test_real_collapsed_sites_are_folded_without_a_change(tmp_path):
    spec = f"{MODELS / 'tin50.py'}:seresnet50_quarter_collapsed"
    names = ["SE_4_1", "SE_4_2", "SE_4_3"]
    result = se_probe.fold(
        model=spec, data=TINY_IMAGENET, classes="goldfish,cliff,banana", per_class=10, out=tmp_path, sites=names,
        overwrite=True, **QUIET
    )  # fmt: skip
    assert result.fixed == names or sorted(result.fixed) == names
    assert result.facts["fold"]["held_out"]["lost"] == result.facts["fold"]["held_out"]["won"] == 0
    kept = json.loads((result.folder / "folded.json").read_text())
    assert kept["builder"]["path"] == str((MODELS / "tin50.py").resolve())
    layers = {layer for site in kept["sites"] for layer in site["layers"]}
    assert layers == {f"layer4.{index}.bn3" for index in range(3)}
    assert not any("layer4.0.se" in name for name in load_folded(tmp_path, spec).network.state_dict())
