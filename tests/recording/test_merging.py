"""Recordings of parts, joined, are the recording of the whole."""

import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from se_probe.errors import SeProbeError
from se_probe.gates import find_gates
from se_probe.images import open_images, select
from se_probe.recording import merge, open_recording, provenance_of, record, verify
from tests.recording.small import assert_same, draw_images, run, small_model


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Three folders: all images, and the same in two disjoint parts."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("merge")
    whole = draw_images(folder / "whole")
    for position, path in enumerate(sorted(whole.rglob("*.png"))):
        part = folder / ("first" if position % 20 < 12 else "second") / path.parent.name
        part.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, part)
    return folder


@pytest.fixture(scope="module")
def parts(place):
    return [run(place / name, place / name / "run" / "recording.zarr").path.parent for name in ("first", "second")]


@pytest.fixture(scope="module")
def whole(place):
    return run(place / "whole", place / "whole.zarr")


def test_parts_joined_are_the_whole(place, parts, whole, tmp_path):
    merged = merge(parts, tmp_path / "merged")
    assert merged.path == tmp_path / "merged" / "recording.zarr"
    assert sorted(merged.images["path"]) == sorted(whole.images["path"])
    assert merged.images["path"].tolist()[:12] == whole.images["path"].tolist()[:12]
    assert merged.skipped["path"].tolist() == ["beta/007.png"]
    assert merged.chosen == whole.chosen
    assert merged.classes.equals(whole.classes)
    order = [merged.images["path"].tolist().index(path) for path in whole.images["path"]]
    for site in whole.sites:
        gates, wanted = merged.gates(site.name), whole.gates(site.name)
        row = {image: position for position, image in enumerate(gates["image"].values.tolist())}
        here = [row[order[image]] for image in wanted["image"].values.tolist()]
        np.testing.assert_allclose(gates.values[here], wanted.values, atol=1e-6)
        for name in ("mean", "m2"):
            np.testing.assert_allclose(
                merged.moments(site.name)[name], whole.moments(site.name)[name], atol=1e-6, rtol=1e-6
            )
    assert verify(merged.path).sound
    assert [part["data"]["title"] for part in merged.provenance["parts"]] == [
        open_recording(part).provenance["data"]["title"] for part in parts
    ]
    assert merged.provenance["data"]["images_selected"] == 60


def test_moments_merge_by_chans_rule(parts, tmp_path):
    """The closed form, from the parts' own moments: no raw values are needed."""
    merged = merge(parts, tmp_path)
    first, second = (open_recording(part) for part in parts)
    for site in merged.sites:
        one, two, both = (item.moments(site.name).sel({"class": "gamma"}) for item in (first, second, merged))
        n, m = int(one["count"]), int(two["count"])
        assert int(both["count"]) == n + m == 20
        mean = (n * one["mean"].values + m * two["mean"].values) / (n + m)
        m2 = one["m2"].values + two["m2"].values + n * m / (n + m) * (one["mean"].values - two["mean"].values) ** 2
        np.testing.assert_allclose(both["mean"], mean, rtol=1e-13)
        np.testing.assert_allclose(both["m2"], m2, rtol=1e-10)


def test_one_part_alone_or_twice(parts, tmp_path):
    with pytest.raises(SeProbeError, match=r"^1 recording was given; expected two or more to join\.$"):
        merge(parts[:1], tmp_path / "out")
    store = parts[0] / "recording.zarr"
    message = f"the image alpha/000.png is in {store} and in {store}; expected disjoint sets of images."
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        merge([parts[0], parts[0]], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("difference", ["weights", "transform", "signals"])
def test_what_differs_is_named(place, parts, tmp_path, difference):
    model = small_model(1) if difference == "weights" else small_model()
    if difference == "transform":
        model = type(model)(**{**vars(model), "preprocessing": {**model.preprocessing, "crop_pct": 0.5}})
    capture = ["logit"] if difference == "signals" else []
    other = run(place / "second", tmp_path / "other" / "recording.zarr", model=model, capture=capture)
    named = {
        "weights": 'model.weights_sha256: is "',
        "transform": "model.preprocessing.crop_pct: is 1.0, there 0.5",
        "signals": 'signals: is ["gate"], there ["gate", "logit"]',
    }
    start = f"{parts[0]}/recording.zarr and {other.path} cannot be joined: "
    with pytest.raises(SeProbeError, match=f"^{re.escape(start)}.*{re.escape(named[difference])}"):
        merge([parts[0], other.path], tmp_path / "out")


def test_a_class_is_chosen_everywhere_or_nowhere(place, parts, tmp_path):
    model, images = small_model(), open_images(place / "second", None)
    chosen = [item.image_class for item in images.labels.resolve_all(["gamma"])]
    selection = select(images, chosen, per_class=50, reference_per_class=50, seed=0)
    facts = provenance_of(model, selection, command="test", settings={"capture": []}, spatial_maps={}, demo=False)
    sites = find_gates(model.network, model.input_size)
    other = record(model, sites, selection, tmp_path / "other" / "recording.zarr", provenance=facts)
    message = (
        f"alpha is chosen in {parts[0]}/recording.zarr and reference in {other.path}; expected a class whose gates are "
        "all kept or none."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        merge([parts[0], other.path], tmp_path / "out")


def test_incomplete_parts_and_taken_places_are_refused(place, parts, tmp_path):
    def stop(images):
        if images:
            raise KeyboardInterrupt

    path = tmp_path / "stopped" / "recording.zarr"
    with pytest.raises(KeyboardInterrupt):
        run(place / "second", path, progress=stop)
    with pytest.raises(SeProbeError, match=f"^{re.escape(str(path))} is incomplete; continue its run with --resume"):
        merge([parts[0], path], tmp_path / "out")
    with pytest.raises(SeProbeError, match=r"already exists; choose another folder with --out\.$"):
        merge(parts, path.parent)


def test_a_merge_of_a_merge(place, parts, tmp_path):
    """Joining is associative: (a + b) + c is a + (b + c) but for rounding."""
    third = draw_images(tmp_path / "third")
    for path in sorted(third.rglob("*.png")):
        path.rename(path.with_name(f"third-{path.name}"))
    c = run(third, tmp_path / "c" / "recording.zarr").path
    left = merge([merge(parts, tmp_path / "ab").path, c], tmp_path / "left")
    right = merge([parts[0], merge([parts[1], c], tmp_path / "bc").path], tmp_path / "right")
    assert_same(left, right)


@settings(max_examples=3, deadline=None)
@given(st.lists(st.booleans(), min_size=60, max_size=60))
def test_any_split_joins_to_the_whole(place, whole, drawn):
    """Any image may have been recorded on either machine; each has one of every class at least."""
    paths = sorted((place / "whole").rglob("*.png"))
    with TemporaryDirectory() as folder:
        for position, path in enumerate(paths):
            part = position % 20 if position % 20 < 2 else int(drawn[position])
            target = Path(folder, str(part), path.parent.name)
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        parts = [run(Path(folder, part), Path(folder, f"run-{part}", "recording.zarr")).path for part in "01"]
        merged = merge(parts, Path(folder, "merged"))
        assert verify(merged.path).sound
        assert sorted(merged.images["path"]) == sorted(whole.images["path"])
        for site in whole.sites:
            moments, wanted = merged.moments(site.name), whole.moments(site.name)
            assert moments["count"].equals(wanted["count"])
            for name in ("mean", "m2"):
                np.testing.assert_allclose(moments[name], wanted[name], atol=1e-6, rtol=1e-6)
