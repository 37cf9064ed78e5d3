"""Interventions as a user runs them: on the demo, on photographs that the network has no classes for, and stopped."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import se_probe
from se_probe.errors import SeProbeError
from se_probe.images import Sample, demo_images, open_images
from se_probe.labels import ImageClass, LabelSpace
from se_probe.runs.plan import default_classes
from se_probe.runs.presets import DEFAULT
from tests.runs.noise import draw_noise
from tests.shared_files import MODELS, TINY_IMAGENET, needs_shared
from tests.told import told

QUIET = {"progress": False, "workers": 0, "report": False}


def demo(out, **options):
    given = {"demo": True, "model": "demo:se", "sites": ["SE_5_3", "stages"], "per_class": 3, "out": out}
    return se_probe.ablate("goldfish,pug", **{**given, **QUIET, **options})


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    root = draw_noise(tmp_path_factory.mktemp("photographs"), ("alpha", "beta"), 3)
    (root / "beta" / "broken.png").write_bytes(b"no image at all")
    return root


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    torch.set_num_threads(1)
    return demo(tmp_path_factory.mktemp("identity") / "run", report=True)


def test_the_outcomes_of_a_run(identity):
    assert identity.complete
    assert identity.demo
    table = identity.interventions
    assert table["name"].tolist() == ["SE_5_3", "stage 2", "stage 3", "stage 4", "stage 5"]
    assert table["sites"].tolist()[-1] == "SE_5_1,SE_5_2,SE_5_3"
    assert set(table["replacement"]) == {"identity"}
    assert len(identity.images) == 30
    assert identity.images["class"].nunique() == 10
    outcomes = identity.outcomes
    assert outcomes.sizes == {"intervention": 5, "image": 30}
    assert outcomes["labelled"].all()
    assert outcomes["top1"].dtype == bool
    assert identity.provenance["replacement"] == "identity"
    assert identity.provenance["gates_from"] is None


def test_the_run_lies_beside_its_recording_and_opens_again(identity):
    folder = identity.path.parent
    recording = se_probe.open_recording(folder)
    assert len(recording.images) == len(identity.images)
    again = se_probe.open_ablation(folder)
    assert again.images.equals(identity.images)
    assert again.outcomes.identical(identity.outcomes)
    assert "Interventions" in (folder / "report.html").read_text(encoding="utf-8")
    assert len(pd.read_csv(folder / "tables" / "ablation_sites.csv")) == 5


@pytest.mark.parametrize("replacement", ["mean", "class-mean", "shuffle", "scale:1"])
def test_every_replacement_runs(tmp_path, replacement):
    ablation = demo(tmp_path / "run", replacement=replacement, sites=["SE_2_1"])
    divergence = ablation.outcomes["kl"].values
    assert (divergence == 0).all() if replacement == "scale:1" else (divergence > 0).all()


def test_swapped_gates_are_measured_on_the_two_classes(tmp_path):
    ablation = demo(tmp_path / "run", replacement="swap:pug,goldfish", sites=["SE_2_2"])
    assert set(ablation.images["class"]) == {"pug", "goldfish"}
    assert ablation.provenance["gates_from"] == "the same images"


def test_one_branch_alone_where_branches_compete(tmp_path):
    ablation = demo(tmp_path / "sk", model="demo:sk", replacement="branch:1", sites=["stages"])
    assert (ablation.outcomes["kl"].values > 0).all()
    message = (
        r"^branch:2 fits none of the sites SE_5_3, .*: branch 2 alone was requested at SE_5_3, but it has no branches; "
        r"choose another branch or site\.$"
    )
    with pytest.raises(SeProbeError, match=message):
        demo(tmp_path / "se", replacement="branch:2")
    assert not (tmp_path / "se").exists()


def test_means_of_another_run_of_the_network(identity, tmp_path):
    other = demo(tmp_path / "run", replacement="mean", sites=["SE_5_3"], gates_from=identity.path.parent)
    own = demo(tmp_path / "own", replacement="mean", sites=["SE_5_3"])
    np.testing.assert_allclose(other.outcomes["nll"].values, own.outcomes["nll"].values, atol=1e-6)
    assert other.provenance["gates_from"] == str(identity.path.parent.resolve() / "recording.zarr")
    message = r"holds gates of demo:se with weights \w{12}, and the network is demo:sa with weights \w{12}; give the "
    with pytest.raises(SeProbeError, match=message):
        demo(tmp_path / "sa", model="demo:sa", sites=None, replacement="mean", gates_from=identity.path.parent)


def test_images_that_the_network_has_no_class_for_still_show_divergence(photographs, tmp_path):
    ablation = se_probe.ablate(
        model="test_efficientnet", random_weights=True, data=photographs, out=tmp_path / "run", sites=["each"], **QUIET
    )
    assert not ablation.outcomes["labelled"].any()
    assert np.isnan(ablation.outcomes["nll"].values).all()
    assert np.isfinite(ablation.outcomes["kl"].values).all()
    assert ablation.skipped["path"].tolist() == ["beta/broken.png"]


def test_a_network_without_logits_is_refused_before_anything_is_recorded(photographs, tmp_path):
    class Features(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loaded = se_probe.load_model("test_efficientnet", random_weights=True).network
            self.pretrained_cfg = dict(self.loaded.pretrained_cfg)

        def forward(self, x):
            return self.loaded.forward_features(x)

    with pytest.raises(SeProbeError, match=r"^the network's output is \(4, \d+, \d+, \d+\); expected logits"):
        se_probe.ablate(model=Features().eval(), data=photographs, out=tmp_path / "run", **QUIET)
    assert not (tmp_path / "run").exists()


def test_a_stopped_run_keeps_what_was_measured(tmp_path, monkeypatch):
    from se_probe.ablation import results

    monkeypatch.setattr(results, "IMAGES_AT_ONCE", 10)
    seen = []

    def stop(_self, measured, add=results.AblationWriter.add):
        add(_self, measured)
        seen.append(measured)
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(results.AblationWriter, "add", stop)
    with pytest.raises(KeyboardInterrupt):
        demo(tmp_path / "run", batch_size=10)
    ablation = se_probe.open_ablation(tmp_path / "run")
    assert not ablation.complete
    assert len(ablation.images) == ablation.outcomes.sizes["image"] == 20
    assert "INCOMPLETE" in repr(ablation)


def test_what_is_no_run_is_refused(tmp_path):
    message = r" holds no interventions; expected the folder of a run of se-probe ablate, or its ablation\.zarr\.$"
    with pytest.raises(SeProbeError, match=message):
        se_probe.open_ablation(tmp_path)


def test_an_earlier_run_is_not_overwritten_unless_asked(identity, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(identity.path.parent, folder)
    with pytest.raises(SeProbeError, match=r"already holds a run \(recording\.zarr, ablation\.zarr, "):
        demo(folder)
    assert demo(folder, sites=["SE_5_3"], overwrite=True).outcomes.sizes["intervention"] == 1


def test_the_classes_shown_by_default(photographs):
    with told() as lines:
        assert default_classes(demo_images(), DEFAULT)[:2] == ["n01443537", "n02110958"]
    assert lines == []
    with told() as lines:
        assert default_classes(open_images(photographs, None), DEFAULT) == ["alpha", "beta"]
    assert "goldfish, pug, plane, cliff" in lines[0]
    assert "alpha, beta (choose others with --classes)" in lines[0]


def test_classes_from_the_data_are_spread_over_those_with_an_output_unit(photographs):
    images = open_images(photographs, None)
    known = [ImageClass(index, None, f"known {index}", ()) for index in range(8)]
    unknown = [ImageClass(None, None, f"unknown {index}", ()) for index in range(6)]

    def chosen(classes):
        samples = tuple(Sample(f"{item.name}/0.png", item) for item in classes)
        return default_classes(replace(images, samples=samples, labels=LabelSpace(tuple(classes), "t")), DEFAULT)

    assert chosen(known + unknown) == ["known 1", "known 3", "known 5", "known 7"]
    assert chosen(known[:3] + unknown) == ["known 0", "known 1", "known 2", "unknown 3"]
    assert chosen(known[:2]) == ["known 0", "known 1"]


@needs_shared
def test_gates_that_do_not_move_lose_nothing_to_their_mean(tmp_path):
    """The collapsed network's gates of the last stage are 0.50 for every image, to 0.0003."""
    options = {"data": TINY_IMAGENET, "replacement": "mean", "per_class": 2, **QUIET}
    sites = ["SE_2_1", "SE_4_1", "SE_4_2", "SE_4_3"]
    model = f"{MODELS / 'tin50.py'}:seresnet50_quarter_collapsed"
    ablation = se_probe.ablate(model=model, sites=sites, out=tmp_path / "run", **options)
    assert len(ablation.images) == 100
    assert ablation.outcomes["agree"].values.all()
    assert float(ablation.outcomes["kl"].max()) < 0.001
