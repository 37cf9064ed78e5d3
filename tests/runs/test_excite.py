"""The whole run, on real photographs and the real checkpoint where they are, and on small noise where not."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import timm
import torch

import se_probe
from se_probe.errors import SeProbeError
from se_probe.gates.effects import OUTCOMES
from se_probe.recording import open_recording
from se_probe.runs.settings import ExciteSettings
from tests.runs.noise import draw_noise
from tests.shared_files import MODELS, SAMPLE_120, TINY_IMAGENET, needs_shared
from tests.told import told

QUIET = {"progress": False}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    return draw_noise(tmp_path_factory.mktemp("photographs"), ("alpha", "beta", "gamma"), 3)


def small(photographs, **options):
    """A run of a small untrained network."""
    given = {"model": "test_efficientnet", "random_weights": True, "data": photographs, "workers": 0, "report": False}
    return se_probe.excite("alpha,beta", **{**given, **QUIET, **options})


@pytest.fixture(scope="module")
def real_run(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("real") / "run"
    options = {"data": TINY_IMAGENET, "per_class": 8, "reference_per_class": 2, **QUIET}
    model = f"{MODELS / 'tin50.py'}:seresnet50_quarter"
    with told() as lines:
        recording = se_probe.excite("goldfish,cliff,tabby,banana", model=model, out=folder, **options)
    return recording, folder, lines


def test_effects_are_recorded_measured_and_shown(tmp_path):
    """The whole way on the demo: tables, figures, a finding, a section, and a summary's sentence."""
    options = {"per_class": 6, "reference_per_class": 6, "workers": 0, **QUIET}
    with told() as lines:
        recording = se_probe.excite(demo=True, capture="effect", out=tmp_path / "run", **options)
    agreement = pd.read_csv(tmp_path / "run/tables/effect_agreement.csv")
    assert list(agreement.columns[:6]) == ["site", "images", "channels", "correlation", "slope", "rmse"]
    assert agreement["site"].tolist() == [site.name for site in recording.sites]
    assert agreement["holds"].sum() >= 5
    classes = pd.read_csv(tmp_path / "run/tables/channel_effects.csv.gz")
    assert {"site", "channel", "class", "mean", "ci_low", "ci_high", "q"} <= set(classes.columns)
    site = agreement.loc[agreement["holds"], "site"].iloc[0]
    row = classes.query("site == @site and channel == 3 and `class` == 'pug'").iloc[0]
    effects = recording.of("effect").gates(site)
    assert row["mean"] == pytest.approx(float(effects[effects["class"] == "pug"].values[:, 3].mean()), rel=1e-4)
    assert {path.stem for path in (tmp_path / "run/figures").glob("*.png")} >= {"effect_agreement", "effects_by_site"}
    page = (tmp_path / "run/report.html").read_text()
    assert "Effects of channels" in page
    assert "Channels with more class-selective gates matter more" in page
    assert any(line.startswith("summary   First-order effects of channels agree with") for line in lines)
    assert recording.effects["outcome"] == "label"


def test_the_outcomes_of_the_option_are_those_of_effects():
    (option,) = [item for item in ExciteSettings.options() if item.name == "effect_of"]
    assert option.choices == tuple(OUTCOMES)


def test_effects_that_cannot_be_recorded_are_refused_before_a_network_is_loaded(photographs, tmp_path):
    with pytest.raises(SeProbeError, match="effects and a compiled network were requested"):
        small(photographs, model="no-such-network", capture="effect", compile=True, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@needs_shared
def test_real_photographs_and_the_real_checkpoint(real_run):
    recording, folder, lines = real_run
    assert len(recording.sites) == 16
    assert recording.chosen == ["goldfish", "cliff", "tabby", "banana"]
    assert len(recording.classes) == 50
    assert recording.classes["images"].sum() == 4 * 8 + 46 * 2
    # The network's measured accuracy on all of these photographs is 0.588.
    correct = recording.images["predicted_index"] == recording.images["class_index"]
    assert 0.4 < correct.mean() < 0.8
    assert not [line for line in lines if line.startswith("warning")]
    assert open_recording(folder).complete


@needs_shared
def test_figures_tables_and_facts_lie_in_the_folder(real_run):
    recording, folder, lines = real_run
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if ".zarr" not in path.as_posix()}
    stems = ("role_of_excitation", "within_class")
    figures = {f"figures/{stem}.{suffix}" for stem in stems for suffix in ("png", "pdf", "svg", "csv")}
    assert names >= figures | {"tables/sites.csv", "tables/class_statistics.csv.gz", "run.json", "report.html"}
    measured = ("depth_profile", "health_profile", "class_heatmap", "class_similarity", "decodability")
    assert names >= {f"figures/{stem}.pdf" for stem in (*measured, "channel_distribution")}
    measures = ("specificity", "health", "similarity", "decodability")
    assert names >= {f"tables/site_{measure}.csv" for measure in measures}
    facts = json.loads((folder / "run.json").read_text())
    assert facts["model"]["weights_sha256"] == recording.provenance["model"]["weights_sha256"]
    assert facts["complete"]
    assert facts["data"]["seed"] == 0
    assert any(line.startswith("gates     16 SE sites") for line in lines)


@needs_shared
def test_the_figures_numbers_are_those_of_the_gates(real_run):
    recording, folder, _ = real_run
    curves = pd.read_csv(folder / "figures" / "role_of_excitation.csv")
    assert list(curves["site"].unique()) == ["SE_1_3", "SE_2_4", "SE_3_6", "SE_4_1", "SE_4_2", "SE_4_3"]
    for row in curves[curves["role"] == "class"].sample(60, random_state=0).itertuples():
        gates = recording.gates(row.site).sel(channel=row.channel)
        values = gates[gates["class"] == curves.loc[row.Index, "class"]].values.astype(np.float64)
        assert row.count == len(values) == 8
        assert row.mean == pytest.approx(values.mean(), rel=1e-12)
        assert row.std == pytest.approx(values.std(ddof=1), rel=1e-9)


@needs_shared
def test_the_collapsed_network_comes_out_flat(tmp_path):
    options = {"data": TINY_IMAGENET, "per_class": 5, "reference_per_class": 0, "report": False, **QUIET}
    model = f"{MODELS / 'tin50.py'}:seresnet50_quarter_collapsed"
    recording = se_probe.excite("goldfish,cliff", model=model, out=tmp_path / "run", **options)
    for site in recording.sites:
        gates = recording.gates(site.name)
        # Measured by those who trained it: every gate is 0.50 and moves by 0.000 to 0.014.
        assert float(gates.mean()) == pytest.approx(0.5, abs=0.01)
        assert float(gates.std("image").mean()) < 0.015


@needs_shared
def test_full_size_photographs_and_a_thousand_classes(tmp_path):
    options = {"model": "test_efficientnet", "random_weights": True, "report": False, **QUIET}
    with told() as lines:
        recording = se_probe.excite("goldfish,pug,plane,cliff", data=SAMPLE_120, out=tmp_path / "run", **options)
    assert recording.chosen == ["goldfish", "pug", "airliner", "cliff"]
    assert len(recording.classes) == 120
    assert recording.images.set_index("class").loc["airliner", "class_index"] == 404
    assert [line for line in lines if "vehicle of the SENet paper" in line]
    assert [line for line in lines if line.startswith("warning   predictions agree with the labels of only")]


def test_draw_makes_the_same_figures_again(photographs, tmp_path):
    recording = small(photographs, out=tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run" / "figures").iterdir()}
    se_probe.draw(recording, tmp_path / "again")
    after = {path.name: path.read_bytes() for path in (tmp_path / "again" / "figures").iterdir()}
    assert after == before
    se_probe.draw(recording, tmp_path / "other", channels=3, within="beta", classes="gamma,alpha")
    curves = pd.read_csv(tmp_path / "other" / "figures" / "role_of_excitation.csv")
    assert set(curves["class"]) == {"gamma", "alpha", "all classes (3)"}
    assert curves["position"].max() == 2


def test_no_reference_no_curve_of_all_classes(photographs, tmp_path):
    small(photographs, out=tmp_path / "run", reference_per_class=0)
    curves = pd.read_csv(tmp_path / "run" / "figures" / "role_of_excitation.csv")
    assert set(curves["class"]) == {"alpha", "beta"}


def test_the_same_call_gives_the_same_numbers(photographs, tmp_path):
    first = small(photographs, out=tmp_path / "one", per_class=2, batch_size=4, seed=3)
    second = small(photographs, out=tmp_path / "two", per_class=2, batch_size=1, seed=3)
    assert first.images["path"].tolist() == second.images["path"].tolist()
    for site in first.sites:
        np.testing.assert_allclose(first.gates(site.name), second.gates(site.name), atol=1e-5)


def test_an_earlier_run_is_kept(photographs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [small(photographs, name="mine").path.parent.as_posix() for _ in range(2)]
    assert names == ["reports/mine", "reports/mine-2"]
    message = (
        "reports/mine already holds a run (recording.zarr, figures, tables, run.json); choose another folder with "
        "--out, or replace it with --overwrite."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        small(photographs, out="reports/mine")
    (tmp_path / "reports" / "mine" / "notes.txt").write_text("kept")
    again = small(photographs, out="reports/mine", overwrite=True, per_class=1)
    assert len(again.images) == 3
    assert (tmp_path / "reports" / "mine" / "notes.txt").read_text() == "kept"


def test_a_mistake_does_not_touch_an_earlier_run(photographs, tmp_path):
    small(photographs, out=tmp_path / "run")
    mistakes = {"within": "gamma", "sites": ["SE_9_9"], "channels": 0, "batch_size": 0, "workers": -1, "capture": ["x"]}
    for name, value in mistakes.items():
        with pytest.raises(SeProbeError):
            small(photographs, out=tmp_path / "run", overwrite=True, **{name: value})
    assert open_recording(tmp_path / "run").complete
    assert (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, '--batch-size 0 was given; expected a whole number from 1 to 100,000, or "auto".'),
        ({"workers": -1}, "--workers -1 was given; expected a whole number from 0 to 1,024."),
        (
            {"within": "gamma"},
            "gamma is requested within classes but is not among the chosen classes (alpha, beta); add it to --classes.",
        ),
        (
            {"data": None},
            "no images were given; expected a folder of labelled images with --data DIR (or SE_PROBE_DATA in the "
            "environment), or --demo for the bundled drawings.",
        ),
        (
            {"model": "resnet18"},
            "resnet18 has no gates: no feature map is multiplied by a factor that depends on the input and has "
            "channels but no spatial extent; choose a gated network (see se-probe models).",
        ),
    ],
)
def test_mistakes_are_one_clear_line(photographs, tmp_path, options, message):
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        small(photographs, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_an_unusable_device(photographs, tmp_path):
    with pytest.raises(SeProbeError, match=r"^the device 'nonsense' cannot be used \(.+\); try --device cpu\.$"):
        small(photographs, out=tmp_path / "run", device="nonsense")


def test_a_file_in_the_place_of_the_folder(photographs, tmp_path):
    (tmp_path / "run").write_text("")
    message = f"{tmp_path / 'run'} is a file; expected a folder for the run, choose another with --out."
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        small(photographs, out=tmp_path / "run")


def test_a_preset_gives_way_to_what_is_given(photographs, tmp_path):
    with told() as lines:
        recording = small(photographs, out=tmp_path / "run", preset="senet", channels=4)
    assert recording.provenance["settings"]["preset"] == "senet"
    assert recording.chosen == ["alpha", "beta"]
    curves = pd.read_csv(tmp_path / "run" / "figures" / "role_of_excitation.csv")
    assert curves["position"].max() == 3
    assert any("the preset's sites SE_2_3, SE_3_4" in line for line in lines)
    assert any(line.startswith("preset    senet, SENet (arXiv 1709.01507)") for line in lines)
    with pytest.raises(SeProbeError, match=r"^--preset vgg was given; expected one of senet, sknet, eca\.$"):
        small(photographs, out=tmp_path / "other", preset="vgg")


def test_what_is_captured_is_recorded(photographs, tmp_path):
    recording = small(photographs, out=tmp_path / "run", capture=["logit"])
    site = recording.sites[0].name
    logits = recording.of("logit").gates(site).values
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), recording.gates(site), atol=1e-6)


def test_a_network_loaded_by_hand(photographs, tmp_path):
    model = se_probe.load_model("test_efficientnet", random_weights=True, seed=5)
    recording = small(photographs, out=tmp_path / "run", model=model, random_weights=False)
    assert recording.provenance["model"]["weights"] == "random (seed 5)"


def test_a_network_in_memory_is_copied(photographs, tmp_path):
    network = timm.create_model("test_efficientnet").eval()
    recording = small(photographs, out=tmp_path / "run", model=network, random_weights=False)
    assert recording.provenance["model"]["name"] == "EfficientNet"
    assert recording.provenance["model"]["source"] == "memory"
    assert not network.training
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_other_signals_are_measured_too(tmp_path):
    options = {"demo": True, "per_class": 6, "capture": ["logit", "feature"], **QUIET}
    recording = se_probe.excite("goldfish,pug,plane", out=tmp_path / "run", **options)
    tables = tmp_path / "run" / "tables"
    for signal in ("logit", "feature_before", "feature_after"):
        table = pd.read_csv(tables / f"site_specificity.{signal}.csv")
        assert table["site"].tolist() == [site.name for site in recording.sites]
        assert table["omega_squared"].between(-1, 1).all()
        assert "verdict" not in table
    # The standard deviation between true class means, from the logits themselves.
    moments = recording.of("logit").moments("SE_5_3")
    count, logits = moments["count"].values[:, None], moments["mean"].values
    noise = np.mean(moments["m2"].values / (count - 1) / count)
    row = pd.read_csv(tables / "site_specificity.logit.csv").set_index("site").loc["SE_5_3"]
    assert row["between_class_sd"] == pytest.approx(np.sqrt(logits.var(0, ddof=1).mean() - noise), rel=1e-6)


def gates_of(recording):
    return {site.name: recording.gates(site.name).values for site in recording.sites}


def test_the_default_is_within_the_tolerance_of_an_exact_run(photographs, tmp_path):
    fast, exact = small(photographs, out=tmp_path / "fast"), small(photographs, out=tmp_path / "exact", exact=True)
    for name, gates in gates_of(exact).items():
        np.testing.assert_allclose(gates_of(fast)[name], gates, rtol=0, atol=1e-5)
    network = timm.create_model("test_efficientnet")
    norms = sum(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    assert fast.provenance["execution"]["batch_norms_folded"] == norms > 0
    assert exact.provenance["execution"]["batch_norms_folded"] == 0
    asked = [run.provenance["settings"]["exact"] for run in (fast, exact)]
    assert asked == [False, True]


def test_some_sites_without_predictions_give_the_same_gates(photographs, tmp_path):
    whole = small(photographs, out=tmp_path / "whole", exact=True)
    wanted = [site.name for site in whole.sites][1::-1]
    options = {"record_sites": wanted, "predictions": False, "exact": True, "report": True}
    some = small(photographs, out=tmp_path / "some", **options)
    assert [site.name for site in some.sites] == wanted[::-1]
    for name, gates in gates_of(some).items():
        np.testing.assert_array_equal(gates, gates_of(whole)[name])
    assert some.images["predicted_index"].isna().all()
    assert some.images["probability"].isna().all()
    assert (tmp_path / "some" / "report.html").is_file()


def test_an_automatic_batch_size_is_kept_in_the_provenance(photographs, tmp_path):
    with told() as lines:
        recording = small(photographs, out=tmp_path / "run", batch_size="auto")
    facts = recording.provenance["execution"]
    assert recording.provenance["settings"]["batch_size"] == "auto"
    assert str(facts["batch_size"]) in facts["images_per_second"]
    assert [line for line in lines if line.startswith(f"batch     {facts['batch_size']} images; images per second: ")]


@pytest.mark.parametrize("batch_size", [0, -3, "many"])
def test_a_batch_size_that_cannot_be(photographs, tmp_path, batch_size):
    message = f'--batch-size {batch_size} was given; expected a whole number from 1 to 100,000, or "auto".'
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        small(photographs, out=tmp_path / "run", batch_size=batch_size)
    assert not (tmp_path / "run").exists()
