"""Effects in a recording: the numbers of a derivation by hand, and like any other signal on disk."""

import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from se_probe.errors import SeProbeError
from se_probe.gates import exact_effects, find_gates
from se_probe.images import batches, open_images, select
from se_probe.labels import label_space_from_names
from se_probe.recording import Execution, merge, verify
from se_probe.recording.guard import root_attributes
from tests.recording.small import CLASSES, assert_same, draw_images, run, small_model

LABELS = label_space_from_names(CLASSES, "small")
SITES = ("SE_2_1", "SE_3_1")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    torch.set_num_threads(1)
    return draw_images(tmp_path_factory.mktemp("small") / "data")


record = partial(run, labels=LABELS)


@pytest.fixture(scope="module")
def recording(data, tmp_path_factory):
    return record(data, tmp_path_factory.mktemp("effects") / "recording.zarr", capture=["effect"])


def selected(data):
    images = open_images(data, LABELS)
    chosen = [item.image_class for item in images.labels.resolve_all(["alpha", "beta"])]
    return select(images, chosen, per_class=50, reference_per_class=50)


@pytest.fixture(scope="module")
def derived(data):
    """Gates, and derivatives of the label's logit by them, of every image: with gates as leaves, in float64."""
    model, selection = small_model(), selected(data)
    network, rows = model.network.double(), {}
    for batch in batches(selection, model.transform, batch_size=1, workers=0):
        for place, image in zip(batch.indices, batch.images, strict=True):
            sample = selection.entries[place].sample
            rows[sample.path] = by_hand(network, image[None].double(), sample.image_class.index)
    return rows


def by_hand(network, image, unit):
    """Return site → (gate, derivative) of one image; each gate is computed, cut off, and made a leaf of its own."""

    def gate(block, features):
        return torch.sigmoid(block[1].fc(features.mean((2, 3))))

    first = network.first[0](network.stem(image)).detach()
    early = gate(network.first, first).detach().requires_grad_()
    second = network.second[0](network.down(first * early[:, :, None, None]))
    late = gate(network.second, second)
    answer = network.head((second * late[:, :, None, None]).mean((2, 3)))[0, unit]
    found = torch.autograd.grad(answer, [early, late])
    gates = (early, late)
    return {name: (s[0].detach().numpy(), d[0].numpy()) for name, s, d in zip(SITES, gates, found, strict=True)}


def expected_effects(recording, derived, site, paths):
    reference = np.array(recording.effects["reference"][site])
    return np.array([derived[path][site][1] * (reference - derived[path][site][0]) for path in paths])


@pytest.mark.parametrize("site", SITES)
def test_effects_are_those_derived_by_hand(recording, derived, site):
    images, effects = recording.images, recording.of("effect")
    kept = images[images["role"] == "chosen"]
    expected = expected_effects(recording, derived, site, kept["path"])
    assert np.abs(expected).max() > 1e-4
    np.testing.assert_allclose(effects.gates(site).values, expected, rtol=1e-3, atol=1e-8)
    moments = effects.moments(site)
    for name in ("alpha", "beta", "gamma"):  # Of the reference class, too, whose images are not kept.
        of_class = expected_effects(recording, derived, site, images.loc[images["class"] == name, "path"])
        row = moments.sel({"class": name})
        np.testing.assert_allclose(row["mean"], of_class.mean(0), rtol=1e-3, atol=1e-8)
        np.testing.assert_allclose(row["m2"], np.square(of_class - of_class.mean(0)).sum(0), rtol=1e-2, atol=1e-14)
    assert effects.gates(site).dims == ("image", "channel")


@pytest.mark.parametrize("site", SITES)
def test_the_reference_is_the_mean_of_class_means_of_the_first_images(recording, derived, site):
    seen = recording.images.groupby("class")["path"].apply(lambda paths: paths.head(8).tolist())
    # The eighth image of beta is broken, and is not replaced by another.
    seen["beta"] = seen["beta"][:7]
    means = [np.mean([derived[path][site][0] for path in paths], axis=0) for paths in seen]
    np.testing.assert_allclose(recording.effects["reference"][site], np.mean(means, axis=0), rtol=1e-5)
    assert recording.effects["reference_images"] == 23


def test_the_gates_are_those_of_a_run_without_effects(recording, data, tmp_path):
    plain = record(data, tmp_path / "recording.zarr")
    assert plain.effects == {}
    assert recording.signals == ["gate", "effect"]
    for site in SITES:
        np.testing.assert_array_equal(recording.gates(site).values, plain.gates(site).values)
    assert recording.images.equals(plain.images)
    assert verify(recording.path).problems == ()


def test_the_sample_holds_first_order_and_exact_effects(recording, data):
    model, selection = small_model(), selected(data)
    assert [row["site"] for row in recording.effects["agreement"]] == list(SITES)
    (first, _) = recording.effects["agreement"]
    places = sorted(set(first["image"]))
    part = replace(selection, entries=tuple(selection.entries[place] for place in places))
    (batch,) = batches(part, model.transform, batch_size=len(places), workers=0)
    reference = torch.tensor(recording.effects["reference"]["SE_2_1"])
    sites = find_gates(model.network, model.input_size)
    for number in (0, 7, len(first["image"]) - 1):
        row = places.index(first["image"][number])
        unit = selection.entries[first["image"][number]].sample.image_class.index
        picked = torch.tensor([[first["channel"][number]]])
        exact = exact_effects(
            model.network, batch.images[row : row + 1], sites[0], picked, reference, labels=torch.tensor([unit])
        )
        assert first["exact"][number] == pytest.approx(float(exact), rel=1e-2, abs=1e-6)
    assert np.corrcoef(first["first_order"], first["exact"])[0, 1] > 0.9
    assert set(first["branch"]) == {0}


@pytest.mark.parametrize("options", [{"batch_size": 7}, {"execution": Execution()}, {"shard_images": 3}])
def test_effects_do_not_depend_on_how_the_run_is_made(recording, data, tmp_path, options):
    again = record(data, tmp_path / "recording.zarr", capture=["effect"], **options)
    assert again.effects["reference"] == recording.effects["reference"]
    for site in SITES:
        np.testing.assert_allclose(
            again.of("effect").gates(site).values, recording.of("effect").gates(site).values, rtol=1e-2, atol=1e-7
        )


def test_a_stopped_run_continues_with_its_reference(recording, data, tmp_path):
    def stop(images):
        raise KeyboardInterrupt

    path = tmp_path / "recording.zarr"
    with pytest.raises(KeyboardInterrupt):
        record(data, path, capture=["effect"], progress=lambda images: images and stop(images))
    facts = root_attributes(path)["effects"]
    assert facts == recording.effects
    again = record(data, path, capture=["effect"], resume=True)
    assert again.effects == facts
    assert_same(again.of("effect"), recording.of("effect"))


def test_other_signals_stand_beside_effects(recording, data, tmp_path):
    both = record(data, tmp_path / "recording.zarr", capture=["effect", "logit"])
    assert both.signals == ["gate", "logit", "effect"]
    np.testing.assert_array_equal(both.of("effect").gates("SE_2_1"), recording.of("effect").gates("SE_2_1"))


def test_the_sample_is_drawn_from_images_that_can_be_decoded(data, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    for name in CLASSES:
        for path in sorted((folder / name).iterdir())[2:]:
            path.write_bytes(b"damaged")
    sampled = record(folder, tmp_path / "recording.zarr", capture=["effect"])
    assert sampled.effects["reference_images"] == 2 * len(CLASSES)
    assert all(len(set(facts["image"])) == 2 * len(CLASSES) for facts in sampled.effects["agreement"])


def test_the_outcome_may_be_that_of_the_predicted_class(recording, data, tmp_path):
    predicted = record(data, tmp_path / "recording.zarr", capture=["effect"], effect_of="predicted")
    images = predicted.images[predicted.images["role"] == "chosen"]
    right = (images["predicted_index"] == images["class_index"]).to_numpy(bool)
    assert 0 < right.sum() < len(right)
    pairs = [[item.of("effect").gates(site).values for item in (predicted, recording)] for site in SITES]
    same = [np.isclose(found, expected, rtol=1e-3, atol=1e-8).all(axis=1) for found, expected in pairs]
    assert np.array_equal(np.logical_and(*same), right)


def test_parts_with_other_references_are_not_merged(recording, data, tmp_path):
    other = record(data, tmp_path / "a" / "recording.zarr", capture=["effect"], per_class=(3, 3))
    with pytest.raises(SeProbeError, match=r"cannot be joined: effect reference: is"):
        merge([recording.path, other.path], tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"execution": Execution(compile=True)}, "effects and a compiled network were requested; effects need a backw"),
        ({"execution": Execution(dtype="bfloat16")}, "effects and the dtype bfloat16 were requested"),
        ({"execution": Execution(predictions=False)}, "effects and a run without predictions were requested"),
        ({"effect_of": "loss"}, "the outcome 'loss' was requested; expected one of label, predicted, log-probability"),
    ],
)
def test_runs_that_have_no_effects_are_refused(data, tmp_path, options, message):
    with pytest.raises(SeProbeError, match=message):
        record(data, tmp_path / "recording.zarr", capture=["effect"], **options)
    assert not (tmp_path / "recording.zarr").exists()


def test_a_class_without_an_output_unit_is_refused(data, tmp_path):
    model = small_model()
    model.network.head = torch.nn.Linear(5, 2).eval()
    with pytest.raises(SeProbeError, match="effects on the label need an output unit for every class, and gamma has"):
        record(data, tmp_path / "recording.zarr", model=model, capture=["effect"])
