"""Recordings through the public API, on photographs drawn as noise and a small timm network."""

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import xarray as xr
from PIL import Image

from se_probe.errors import SeProbeError
from se_probe.gates import find_gates
from se_probe.images import batches, open_images, select
from se_probe.models import LoadedModel, load_model
from se_probe.recording import open_recording, provenance_of, record, verify
from tests.recording.small import draw_images, small_model

CLASSES = ("alpha", "beta", "gamma")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for position, name in enumerate(CLASSES):
        (root / name).mkdir()
        for index in range(5):
            pixels = rng.integers(0, 120, (40, 40, 3)) + np.array([position * 60, 60, 120 - position * 60])
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{index}.png")
    (root / "beta" / "broken.png").write_bytes(b"no image at all")
    return root


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    torch.set_num_threads(1)
    return load_model("test_efficientnet", random_weights=True, seed=1)


def run(model, photographs, path, *, chosen=("alpha", "beta"), reference=3, **options):
    images = open_images(photographs, None)
    classes = [item.image_class for item in images.labels.resolve_all(list(chosen))]
    selection = select(images, classes, per_class=50, reference_per_class=reference, seed=0)
    provenance = provenance_of(model, selection, command="test", settings={}, spatial_maps={}, demo=False)
    sites = find_gates(model.network, model.input_size)
    return record(model, sites, selection, path, provenance=provenance, **options), selection


def by_raw_hooks(model, selection):
    """Independent: gates by plain hooks on timm's `.gate`, image by image."""
    gates = {path: [] for path, _ in model.network.named_modules() if path.endswith("se.gate")}
    names, paths = [], []
    handles = [
        model.network.get_submodule(path).register_forward_hook(
            lambda _m, _i, output, path=path: gates[path].append(output[0, :, 0, 0].numpy().copy())
        )
        for path in gates
    ]
    with torch.no_grad():
        for batch in batches(selection, model.transform, batch_size=1, workers=0):
            for index in batch.indices:
                model.network(batch.images)
                names.append(selection.entries[index].sample.image_class.name)
                paths.append(selection.entries[index].sample.path)
    for handle in handles:
        handle.remove()
    return {path: np.array(rows) for path, rows in gates.items()}, np.array(names), paths


@pytest.fixture(scope="module")
def recorded(model, photographs, tmp_path_factory):
    return run(model, photographs, tmp_path_factory.mktemp("run") / "recording.zarr", batch_size=4, shard_images=5)


def test_gates_and_moments_equal_raw_hooks(model, recorded):
    recording, selection = recorded
    expected, names, paths = by_raw_hooks(model, selection)
    assert recording.images["path"].tolist() == paths
    assert recording.images["class"].tolist() == names.tolist()
    kept = np.isin(names, ["alpha", "beta"])
    for site in recording.sites:
        raw = expected[f"{site.module}.gate"].astype(np.float64)
        gates = recording.gates(site.name)
        assert gates.dims == ("image", "channel")
        np.testing.assert_allclose(gates.values, raw[kept], atol=1e-6)
        assert gates["class"].values.tolist() == names[kept].tolist()
        assert gates["image"].values.tolist() == np.flatnonzero(kept).tolist()
        moments = recording.moments(site.name)
        assert moments["class"].values.tolist() == list(CLASSES)
        for name in CLASSES:
            rows = raw[names == name]
            one = moments.sel({"class": name})
            assert int(one["count"]) == len(rows)
            np.testing.assert_allclose(one["mean"], rows.mean(0), atol=1e-6)
            np.testing.assert_allclose(one["m2"], ((rows - rows.mean(0)) ** 2).sum(0), atol=1e-6)


def test_images_carry_predictions(model, recorded):
    recording, selection = recorded
    images = recording.images
    logits = []
    with torch.no_grad():
        for batch in batches(selection, model.transform, batch_size=3, workers=0):
            logits.append(model.network(batch.images))
    probabilities = torch.cat(logits).softmax(1)
    assert images["predicted_index"].tolist() == probabilities.argmax(1).tolist()
    np.testing.assert_allclose(images["probability"], probabilities.amax(1), rtol=1e-5)
    assert images["predicted"].tolist() == [model.labels.classes[i].name for i in images["predicted_index"]]
    assert images["role"].tolist() == ["chosen"] * 10 + ["reference"] * 3
    assert images["class_index"].isna().all()
    assert images["class_probability"].isna().all()


def test_skipped_images_are_named(recorded):
    recording, _ = recorded
    assert recording.skipped["path"].tolist() == ["beta/broken.png"]
    assert recording.skipped["class"].tolist() == ["beta"]
    assert recording.skipped["reason"].str.len().min() > 0
    assert recording.classes[["name", "images"]].values.tolist() == [["alpha", 5], ["beta", 5], ["gamma", 3]]


def test_opens_from_disk_as_it_was(recorded):
    recording, _ = recorded
    for path in (recording.path, recording.path.parent):
        again = open_recording(path)
        assert again.complete
        assert again.sites == recording.sites
        assert again.provenance == recording.provenance
        assert again.chosen == ["alpha", "beta"]
        xr.testing.assert_identical(again.gates(again.sites[0].name), recording.gates(again.sites[0].name))
    assert not (recording.path / "shards").exists()
    tree = xr.open_datatree(recording.path, engine="zarr")
    assert tree.attrs["status"] == "complete"
    assert tree[f"moments/{recording.sites[0].name}"]["mean"].dtype == np.float64


@pytest.mark.parametrize(("batch_size", "workers", "shard_images"), [(1, 0, 1000), (13, 2, 1), (3, 1, 4)])
def test_batch_size_workers_and_shards_do_not_matter(
    model, photographs, recorded, tmp_path, batch_size, workers, shard_images
):
    expected, _ = recorded
    options = {"batch_size": batch_size, "workers": workers, "shard_images": shard_images}
    recording, _ = run(model, photographs, tmp_path / "recording.zarr", **options)
    assert recording.images["path"].tolist() == expected.images["path"].tolist()
    for site in recording.sites:
        # The tolerance that the documentation states: float32 kernels differ between batch sizes.
        np.testing.assert_allclose(recording.gates(site.name), expected.gates(site.name), atol=1e-5)
        np.testing.assert_allclose(recording.moments(site.name)["m2"], expected.moments(site.name)["m2"], atol=1e-5)


def test_gates_of_several_shards(model, photographs, recorded, tmp_path):
    recording, _ = run(model, photographs, tmp_path / "recording.zarr", batch_size=2, shard_images=3)
    for site in recording.sites:
        np.testing.assert_allclose(recording.gates(site.name), recorded[0].gates(site.name), atol=1e-5)
    assert recording.gates(recording.sites[0].name)["image"].values.tolist() == list(range(10))


def test_a_stopped_run_leaves_a_valid_recording_marked_incomplete(model, photographs, recorded, tmp_path):
    def stop(images: int) -> None:
        stop.done = getattr(stop, "done", 0) + images
        if stop.done >= 8:
            raise KeyboardInterrupt

    path = tmp_path / "recording.zarr"
    with pytest.raises(KeyboardInterrupt):
        run(model, photographs, path, batch_size=2, shard_images=3, progress=stop)
    # What a kill in the middle of a shard leaves is passed over.
    (path / "shards" / ".000000009.safetensors.1.tmp").write_bytes(b"half")
    recording = open_recording(path)
    assert not recording.complete
    assert "INCOMPLETE" in repr(recording)
    assert len(recording.images) == 8
    expected = recorded[0]
    assert recording.images["path"].tolist() == expected.images["path"].tolist()[:8]
    for site in recording.sites:
        np.testing.assert_allclose(recording.gates(site.name), expected.gates(site.name)[:8], atol=1e-5)
        alpha = recording.moments(site.name)["mean"].sel({"class": "alpha"})
        np.testing.assert_allclose(alpha, expected.moments(site.name)["mean"].sel({"class": "alpha"}), atol=1e-5)


def test_a_run_stopped_before_its_first_image_says_so(model, photographs, tmp_path):
    class BrokenError(Exception):
        pass

    class FailingTransform:
        def __call__(self, image):
            raise BrokenError

    failing = LoadedModel(**{**vars(model), "transform": FailingTransform()})
    with pytest.raises(BrokenError):
        run(failing, photographs, tmp_path / "recording.zarr")
    with pytest.raises(SeProbeError, match=r"recording\.zarr holds no image yet.*--resume"):
        open_recording(tmp_path / "recording.zarr")


def test_a_chosen_class_of_broken_images_is_an_error(model, tmp_path):
    root = tmp_path / "data"
    for name in ("alpha", "beta"):
        (root / name).mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(root / "alpha" / "0.png")
    (root / "beta" / "0.png").write_bytes(b"")
    with pytest.raises(
        SeProbeError,
        match=r"^none of the images of beta could be recorded \(.*empty.*\); "
        r"repair them or choose another class\.$",
    ):
        run(model, root, tmp_path / "recording.zarr")
    recording = open_recording(tmp_path / "recording.zarr")
    assert not recording.complete
    assert recording.skipped["path"].tolist() == ["beta/0.png"]


def test_branches_come_out_labelled(photographs, tmp_path):
    model = load_model("skresnet18", random_weights=True, model_args={"num_classes": 4})
    recording, _ = run(model, photographs, tmp_path / "recording.zarr", reference=0)
    gates = recording.gates("SK_3_1")
    assert gates.dims == ("image", "branch", "channel")
    np.testing.assert_allclose(gates.sum("branch"), 1, atol=1e-5)
    moments = recording.moments("SK_3_1")
    assert moments["mean"].dims == ("class", "branch", "channel")
    np.testing.assert_allclose(
        moments["mean"].sel({"class": "beta"}), gates[gates["class"] == "beta"].mean("image"), atol=1e-6
    )
    assert moments["class"].values.tolist() == ["alpha", "beta"]


def test_half_precision_and_double_are_kept(photographs, tmp_path):
    model = load_model("test_efficientnet", random_weights=True)
    model.network.double()
    recording, _ = run(model, photographs, tmp_path / "recording.zarr", chosen=["gamma"], reference=0)
    assert recording.gates(recording.sites[0].name).dtype == np.float64


def test_shows_itself(recorded):
    recording, _ = recorded
    assert repr(recording).startswith(f"<se_probe.Recording {recording.path}>\n  model:    test_efficientnet")
    assert "alpha, beta (10 images)" in repr(recording)
    assert "INCOMPLETE" not in repr(recording)
    assert "SE_" in recording._repr_html_()


def test_names_from_outside_stay_text(model, photographs, tmp_path):
    hostile = LoadedModel(**{**vars(model), "name": "<script>alert(1)</script>"})
    recording, _ = run(hostile, photographs, tmp_path / "recording.zarr", reference=0)
    assert "<script>" not in recording._repr_html_()
    assert "&lt;script&gt;" in recording._repr_html_()


def test_unknown_site(recorded):
    recording, _ = recorded
    first = ", ".join(site.name for site in recording.sites)
    message = f"{recording.path} has no site 'SE_9_9'; expected one of {first}."
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        recording.gates("SE_9_9")


def test_no_recording(tmp_path):
    message = (
        f"{tmp_path} holds no recording; expected the folder of a run of se-probe excite, or the recording.zarr in it."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        open_recording(tmp_path)
    with pytest.raises(SeProbeError, match="holds no recording"):
        open_recording(tmp_path / "nowhere")


def test_a_later_schema_is_refused(recorded, tmp_path):
    import zarr

    copy = tmp_path / "recording.zarr"
    shutil.copytree(recorded[0].path, copy)
    zarr.open_group(copy, mode="r+", use_consolidated=False).attrs["schema"] = 99
    message = f"{copy} has recording schema 99; this version of se-probe reads up to 3, use a later one."
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        open_recording(copy)


def as_schema_2(path, copy):
    """Copy a recording as the schema before has it: no id of the run, and a checksum over the other attributes."""
    shutil.copytree(path, copy)
    attributes = json.loads((copy / ".zattrs").read_text())
    del attributes["run"]
    attributes["schema"] = 2
    rest = {key: value for key, value in attributes.items() if key not in ("status", "checksums")}
    if "checksums" in attributes:
        content = json.dumps(rest, sort_keys=True).encode()
        attributes["checksums"]["attributes"] = hashlib.sha256(content).hexdigest()
    (copy / ".zattrs").write_text(json.dumps(attributes))
    (copy / ".zmetadata").unlink(missing_ok=True)
    return copy


def test_the_former_schema_opens_and_is_sound(recorded, tmp_path):
    recording, _ = recorded
    former = open_recording(as_schema_2(recording.path, tmp_path / "recording.zarr"))
    assert verify(former.path).sound
    assert former.images.equals(recording.images)
    for site in recording.sites:
        assert former.gates(site.name).equals(recording.gates(site.name))
        assert former.moments(site.name).equals(recording.moments(site.name))


def test_timm_is_not_changed_by_recording(model, recorded):
    fresh = timm.create_model("test_efficientnet")
    assert [name for name, _ in model.network.named_modules()] == [name for name, _ in fresh.named_modules()]
    assert all(not module._forward_hooks for module in model.network.modules())


def test_other_signals_are_recorded_and_read_like_gates(model, photographs, tmp_path):
    recording, _ = run(model, photographs, tmp_path / "recording.zarr", capture=["logit", "squeeze", "feature"])
    assert recording.signals == ["gate", "logit", "squeeze", "feature_before", "feature_after"]
    site = recording.sites[0]
    gates = recording.gates(site.name)
    logits = recording.of("logit").gates(site.name)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits.values.astype(np.float64))), gates, atol=1e-6)
    before, after = (recording.of(f"feature_{when}").gates(site.name) for when in ("before", "after"))
    np.testing.assert_allclose(after, before * gates, atol=1e-5)
    np.testing.assert_allclose(recording.of("squeeze").gates(site.name), before, atol=1e-6)
    moments = recording.of("logit").moments(site.name)
    alpha = logits[logits["class"] == "alpha"].values.astype(np.float64)
    np.testing.assert_allclose(moments["mean"].sel({"class": "alpha"}), alpha.mean(0), atol=1e-12)
    np.testing.assert_allclose(moments["m2"].sel({"class": "alpha"}), alpha.var(0) * 5, atol=1e-10)
    assert "shown here: logit" in repr(recording.of("logit"))


def test_a_signal_that_was_not_captured(recorded):
    message = f"{recorded[0].path} holds no 'logit', but gate; record again with --capture."
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        recorded[0].of("logit")


def test_without_chosen_classes_there_are_moments_and_no_gates(tmp_path):
    model, images = small_model(), open_images(draw_images(tmp_path / "data"), None)
    selection = select(images, images.classes, per_class=5)
    others = tuple(replace(entry, role="reference") for entry in selection.entries)
    sites = find_gates(model.network, model.input_size)
    facts = provenance_of(model, selection, command="test", settings={}, spatial_maps={}, demo=False)
    expected = record(model, sites, selection, tmp_path / "all.zarr", provenance=facts)
    part = replace(selection, chosen=(), entries=others)
    found = record(model, sites, part, tmp_path / "none.zarr", provenance=facts)
    assert verify(found.path).sound
    for site in expected.sites:
        assert found.gates(site.name).shape == (0, site.channels)
        assert found.moments(site.name).equals(expected.moments(site.name))
