"""The scale experiment end to end, on real photographs where they are and on small noise and drawings where not."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from se_probe.demo import draw, stimulus_factors
from se_probe.errors import SeProbeError
from se_probe.gates import find_gates
from se_probe.images import open_images, select
from se_probe.models import load_model
from se_probe.recording import Execution, open_recording, record
from se_probe.runs.plot import plot
from se_probe.runs.scale import open_scale_run, scale
from tests.runs.noise import QUIET, draw_noise
from tests.shared_files import TINY_IMAGENET, needs_shared
from tests.told import told


@pytest.fixture(scope="module")
def network():
    torch.set_num_threads(1)
    return load_model("skresnet18", random_weights=True, model_args={"num_classes": 4, "layers": (1, 1, 1, 1)})


@pytest.fixture(scope="module")
def sigmoids():
    """A smaller network, whose gates have no branches."""
    return load_model("test_efficientnet", random_weights=True, model_args={"num_classes": 3})


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    root = draw_noise(tmp_path_factory.mktemp("photographs"), ("alpha", "beta", "gamma"), 3, (60, 72), cells=(6, 7))
    (root / "beta" / "broken.png").write_bytes(b"no image at all")
    return root


def small(photographs, model, out, **options):
    given = {"data": photographs, "model": model, "out": out, "scales": (1.0, 2.0)}
    return scale("alpha,beta", **given | QUIET | options)


@pytest.fixture(scope="module")
def small_run(photographs, network, tmp_path_factory):
    with told() as lines:
        run = small(photographs, network, tmp_path_factory.mktemp("small") / "run")
    return run, lines


def raw_gates(network, images):
    """Independent: a plain hook on timm's attention modules, image by image, after plain Pillow."""
    modules = [site.hook_point.module for site in find_gates(network.network, network.input_size)]
    caught = {module: [] for module in modules}
    handles = [
        network.network.get_submodule(module).register_forward_hook(
            lambda _m, _i, output, module=module: caught[module].append(output[0, :, :, 0, 0].numpy().copy())
        )
        for module in modules
    ]
    with torch.no_grad():
        for image in images:
            network.network(network.transform(image)[None])
    for handle in handles:
        handle.remove()
    return {module: np.stack(rows) for module, rows in caught.items()}


def test_recordings_are_those_of_enlarged_images(small_run, network, photographs):
    run, _ = small_run
    base = run.base.images.query("role == 'chosen'")["path"]
    plain = [Image.open(photographs / path).convert("RGB") for path in base]
    doubled = [image.crop((18, 15, 54, 45)).resize((72, 60), Image.Resampling.BICUBIC) for image in plain]
    for factor, images in ((1.0, plain), (2.0, doubled)):
        assert run.recordings[factor].images.query("role == 'chosen'")["path"].tolist() == base.tolist()
        expected = raw_gates(network, images)
        for found, site in zip(run.base.sites, find_gates(network.network, network.input_size), strict=True):
            gates = run.recordings[factor].gates(found.name).values
            np.testing.assert_allclose(gates, expected[site.hook_point.module], atol=2e-6)


def test_the_larger_kernel_is_read_from_the_convolutions(small_run):
    run, _ = small_run
    assert [site.kernels for site in run.base.sites] == [(3, 5)] * 4
    gates = run.recordings[2.0].gates("SK_3_1").values.astype(float)
    values = run.values.query("site == 'SK_3_1' and scale == 2")["value"]
    np.testing.assert_allclose(values, (gates[:, 1] - gates[:, 0]).mean(axis=1), atol=1e-6)


def test_run_folder_holds_everything_and_opens_again(small_run):
    run, lines = small_run
    assert sorted(path.name for path in run.path.iterdir()) == [
        "figures", "run.json", "scale-1.0", "scale-2.0", "tables", "thumbnails.npz"
    ]  # fmt: skip
    figures = {path.name for path in (run.path / "figures").iterdir()}
    stems = ("scale_images", "scale_classes", "scale_response")
    assert figures == {f"{stem}.{suffix}" for stem in stems for suffix in ("png", "pdf", "svg", "csv")}
    again = open_scale_run(run.path)
    pd.testing.assert_frame_equal(again.tests, run.tests)
    assert again.thumbnails.keys() == run.thumbnails.keys()
    for key, picture in run.thumbnails.items():
        np.testing.assert_array_equal(again.thumbnails[key], picture)
    stored = pd.read_csv(run.path / "tables" / "scale_tests.csv").fillna({"kernels": ""})
    assert stored["verdict"].tolist() == run.tests["verdict"].tolist()
    assert [line for line in lines if line.startswith("scales")] == [
        "scales    1×, 2×: enlarged by central crop and resize"
    ]
    assert sum(line.startswith("finding   SK_") for line in lines) == 4


def test_figures_are_drawn_again_without_the_network(small_run, tmp_path):
    run, _ = small_run
    paths = plot(run.path, out=tmp_path)
    assert {path.relative_to(tmp_path) for path in paths} == {
        path.relative_to(run.path) for path in (run.path / "figures").iterdir()
    }
    for path in paths:
        assert path.read_bytes() == (run.path / path.relative_to(tmp_path)).read_bytes()


def test_provenance_names_the_scale(small_run):
    run, _ = small_run
    for factor in (1.0, 2.0):
        facts = open_recording(run.path / f"scale-{factor}").provenance["scale"]
        assert facts == {"factor": factor, "by": "crop", "method": "enlarged by central crop and resize"}
    facts = json.loads((run.path / "run.json").read_text())
    assert facts["scales"]["factors"] == [1.0, 2.0]
    assert facts["complete"] is True


def test_images_that_cannot_be_decoded_are_missing_at_every_scale(small_run):
    run, lines = small_run
    assert [recording.skipped["path"].tolist() for recording in run.recordings.values()] == [["beta/broken.png"]] * 2
    assert run.values["path"].nunique() == 6
    assert any(line.startswith("warning   1 images were skipped") for line in lines)


def test_crops_smaller_than_the_networks_input_are_warned_of(small_run):
    run, lines = small_run
    warning = (
        "images are as small as 60 pixels, so that crops at 2× have fewer than the 224 of the network's input: "
        "enlarging blurs them, and that alone moves gates"
    )
    assert f"warning   {warning}" in lines
    assert warning in json.loads((run.path / "run.json").read_text())["warnings"]


def test_shows_itself(small_run):
    run, _ = small_run
    assert repr(run).splitlines()[0] == f"<se_probe.ScaleRun {run.path}: 1×, 2×, enlarged by central crop and resize>"
    assert "SK_2_1: " in repr(run)
    assert run._repr_html_().count("moves to") == repr(run).count("moves to")


def test_an_earlier_run_is_kept_unless_it_may_be_replaced(photographs, sigmoids, tmp_path):
    out = tmp_path / "run"
    small(photographs, sigmoids, out, scales=(1, 1.25), reference_per_class=0)
    (out / "notes.txt").write_text("mine")
    message = (
        f"{out} already holds a run (figures, tables, run.json); choose another folder with --out, or "
        "replace it with --overwrite."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        small(photographs, sigmoids, out)
    small(photographs, sigmoids, out, overwrite=True, reference_per_class=0)
    assert sorted(path.name for path in out.glob("scale-*")) == ["scale-1.0", "scale-2.0"]
    assert (out / "notes.txt").read_text() == "mine"


def test_a_stopped_run_is_no_complete_experiment(photographs, network, tmp_path):
    out = tmp_path / "run"

    calls = []

    def stopping(image):
        calls.append(image)
        if len(calls) > 18:  # the nine images of the first scale, up to eight that are looked at before, and one more
            raise KeyboardInterrupt
        return network.transform(image)

    with pytest.raises(KeyboardInterrupt):
        small(photographs, replace(network, transform=stopping), out)
    message = (
        f"{out} holds no complete scale experiment (1 complete recordings at different scales); expected "
        "the folder of a run of se-probe scale that finished; run it again with --overwrite."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        open_scale_run(out)
    with pytest.raises(SeProbeError, match=re.escape("already holds a run (recording.zarr)")):
        small(photographs, network, out)


ENLARGED = "two or more different ones of 1 or more (a crop cannot show what is outside the image)."
POSITIVE = "a number above 0 and up to 100."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "zoom"}, "--by zoom was given; expected one of crop, object."),
        ({"by": "object"}, "objects can be drawn larger in the demo's drawings only; add --demo, or use --by crop."),
        ({"scales": (1, 1.0)}, f"the scales 1, 1 were requested; expected {ENLARGED}"),
        ({"scales": (0.5, 2)}, f"the scales 0.5, 2 were requested; expected {ENLARGED}"),
        ({"by": "object", "demo": True, "data": None, "scales": (0, 1)}, f"--scales 0 was given; expected {POSITIVE}"),
        ({"scales": (1, float("nan"))}, f"--scales nan was given; expected {POSITIVE}"),
    ],
)
def test_impossible_scales(photographs, network, tmp_path, options, message):
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        small(photographs, network, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_drawings_by_object_size(sigmoids, tmp_path):
    options = {"scales": (0.7, 1.4), "per_class": 2, "reference_per_class": 0, **QUIET}
    with told() as lines:
        run = scale("goldfish,pug", demo=True, model=sigmoids, by="object", out=tmp_path / "run", **options)
    assert run.base.demo
    path = run.base.images["path"].iloc[0]
    _, name, instance = path.split("/")
    for factor in (0.7, 1.4):
        drawn = draw(name, int(instance), scale=stimulus_factors(name, int(instance)).scale * factor)
        np.testing.assert_array_equal(run.thumbnails[path, factor], np.array(drawn))
    assert (run.values.query("scale == 1.4")["change"] > 0).all()
    assert not any("blurs" in line for line in lines)


def test_sigmoid_gates_have_a_response_and_nothing_of_branches(photographs, sigmoids, tmp_path):
    run = small(photographs, sigmoids, tmp_path / "run", reference_per_class=0)
    assert {path.stem for path in (run.path / "figures").iterdir()} == {"scale_response"}
    assert run.values["quantity"].unique().tolist() == ["mean gate"]
    assert not (run.path / "tables" / "split_attention.csv").exists()


def test_split_attention_has_no_larger_kernel(photographs, tmp_path):
    arguments = {"num_classes": 3, "layers": (1, 1, 1, 1), "base_width": 8}
    model = load_model("resnest14d", random_weights=True, model_args=arguments)
    with told() as lines:
        run = small(photographs, model, tmp_path / "run", reference_per_class=0)
    assert {path.stem for path in (run.path / "figures").iterdir()} == {"scale_response"}
    assert run.tests["verdict"].unique().tolist() == ["cannot be judged"]
    reason = "cannot be judged: branches without kernels of different extent"
    assert f"finding   SA_2_1, SA_3_1, SA_4_1, SA_5_1: {reason}" in lines
    assert pd.read_csv(run.path / "tables" / "cardinal_groups.csv")["groups_known"].all()


@needs_shared
def test_scale_one_is_the_plain_recording_of_real_photographs(sigmoids, tmp_path):
    options = {"per_class": 3, "reference_per_class": 0}
    data = {"data": TINY_IMAGENET, "model": sigmoids, "scales": (1, 1.5), "exact": True}
    run = scale("goldfish,cliff", out=tmp_path / "run", **data, **options, **QUIET)
    images = open_images(TINY_IMAGENET, None)
    chosen = [item.image_class for item in images.labels.resolve_all("goldfish,cliff")]
    sites = find_gates(sigmoids.network, sigmoids.input_size)
    facts = run.base.provenance
    run_as_is = {"provenance": facts, "execution": Execution(exact=True)}
    plain = record(sigmoids, sites, select(images, chosen, **options), tmp_path / "plain.zarr", **run_as_is)
    assert plain.images["path"].tolist() == run.base.images["path"].tolist()
    for site in plain.sites:
        np.testing.assert_array_equal(plain.gates(site.name).values, run.base.gates(site.name).values)
    path = run.base.images["path"].iloc[0]
    larger = images.source.open(path).convert("RGB").crop((10, 10, 53, 53)).resize((64, 64), Image.Resampling.BICUBIC)
    thumbnail = larger.resize((96, 96), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(run.thumbnails[path, 1.5], np.array(thumbnail))


def test_a_preset_gives_the_scales_that_are_not_given(photographs, network, tmp_path):
    run = small(photographs, network, tmp_path / "run", scales=None, preset="sknet", per_class=1)
    assert list(run.recordings) == [1.0, 1.5, 2.0]
    with pytest.raises(SeProbeError, match=r"^--preset vgg was given; expected one of senet, sknet, eca\.$"):
        small(photographs, network, tmp_path / "other", preset="vgg")
    assert not (tmp_path / "other").exists()
