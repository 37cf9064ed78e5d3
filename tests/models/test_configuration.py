"""Preprocessing and the meaning of outputs, from the network's own configuration."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from timm.data import ImageNetInfo
from timm.models import PretrainedCfg

from se_probe.errors import SeProbeError
from se_probe.labels import imagenet
from se_probe.models import load_architecture, load_model, model_of
from se_probe.models.configuration import configured_model, named_outputs, output_labels

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
PHOTOGRAPHS = SHARED / "data" / "imagenet-sample-120"


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="needs the shared photographs")
@pytest.mark.parametrize("name", ["test_efficientnet", "legacy_seresnet50", "resnest14d"])
def test_a_photograph_comes_out_as_from_timms_own_transform(name: str) -> None:
    model = load_model(name, random_weights=True)
    network = timm.create_model(name)
    own = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    for path in sorted(PHOTOGRAPHS.glob("*.JPEG"))[:3]:
        image = Image.open(path).convert("RGB")
        tensor = model.transform(image)
        assert tensor.shape == model.input_size
        assert torch.equal(tensor, own(image))


def test_the_transform_can_be_sent_to_a_worker_and_the_facts_to_json() -> None:
    image = Image.linear_gradient("L").convert("RGB")
    for spec in ("test_efficientnet", "torchvision:squeezenet1_1"):
        model = load_model(spec, random_weights=True)
        assert torch.equal(pickle.loads(pickle.dumps(model.transform))(image), model.transform(image))
        assert json.loads(json.dumps(model.preprocessing)) == model.preprocessing


def test_an_image_size_among_the_arguments_is_respected() -> None:
    model = load_model("test_vit", random_weights=True, model_args={"img_size": (96, 128)})
    assert model.input_size == (3, 96, 128)
    tensor = model.transform(Image.new("RGB", (300, 200)))
    assert model.network(tensor[None]).shape == (1, 1000)
    assert load_model("test_vit", random_weights=True, model_args={"img_size": 96}).input_size == (3, 96, 96)


@pytest.mark.parametrize("attribute", ["pretrained_cfg", "default_cfg"])
@pytest.mark.parametrize("as_mapping", [True, False])
def test_either_configuration_counts_as_mapping_or_dataclass(attribute: str, as_mapping: bool) -> None:
    network = torch.nn.Flatten()
    config = PretrainedCfg(input_size=(3, 32, 48), mean=(0.5, 0.5, 0.5), crop_pct=1.0)
    setattr(network, attribute, config.to_dict() if as_mapping else config)
    made = configured_model(network, "net", "file", "as built", configuration="here")
    assert made.input_size == (3, 32, 48)
    assert made.preprocessing["mean"] == [0.5, 0.5, 0.5]
    assert made.preprocessing["source"] == "here"


def test_networks_for_other_than_three_channels_are_refused() -> None:
    with pytest.raises(SeProbeError) as caught:
        load_model("test_efficientnet", random_weights=True, model_args={"in_chans": 1})
    assert str(caught.value) == "test_efficientnet expects 1 input channels; photographs have 3, red, green and blue"


def test_a_configuration_that_timm_cannot_read_is_named() -> None:
    network = torch.nn.Flatten()
    network.pretrained_cfg = {"input_size": (3, 32, 32), "crop_pct": "most"}  # type: ignore[assignment]
    with pytest.raises(SeProbeError) as caught:
        configured_model(network, "mine.py:build", "file", "as built")
    assert str(caught.value).startswith("the preprocessing of mine.py:build cannot be made from its pretrained_cfg (")
    assert str(caught.value).endswith("expected input_size, mean, std, interpolation and crop_pct as timm writes them")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"std": (0.2, 0.0, 0.2)}, "std"),
        ({"std": (0.2, float("nan"), 0.2)}, "std"),
        ({"mean": "half"}, "mean"),
        ({"crop_pct": -0.5}, "crop_pct"),
        ({"input_size": (3, 0, 32)}, "input_size"),
        ({"input_size": (3, 32)}, ""),
    ],
)
def test_impossible_numbers_are_refused_before_any_image(config: dict[str, object], words: str) -> None:
    network = torch.nn.Flatten().eval()
    network.pretrained_cfg = {"input_size": (3, 32, 32), **config}  # type: ignore[assignment]
    with pytest.raises(SeProbeError, match=f"^the preprocessing of net cannot be made from .*{words}"):
        model_of(network, "net")


@pytest.mark.parametrize("config", ["imagenet", 5, ["input_size"]])
def test_a_configuration_that_is_no_mapping_is_refused(config: object) -> None:
    network = torch.nn.Flatten().eval()
    network.pretrained_cfg = config  # type: ignore[assignment]
    with pytest.raises(SeProbeError, match=f"of net is of type {type(config).__name__}; expected a dict"):
        model_of(network, "net")


def test_an_architecture_that_takes_no_photographs_can_be_looked_at() -> None:
    assert load_architecture("test_efficientnet", model_args={"in_chans": 1}).input_size == (1, 160, 160)


def _network(units: int | None = None, **config: object) -> torch.nn.Module:
    made = torch.nn.Flatten()
    made.pretrained_cfg = config  # type: ignore[assignment]
    if units is not None:
        made.num_classes = units  # type: ignore[assignment]
    return made


def test_a_thousand_classes_are_imagenet() -> None:
    assert output_labels(_network(num_classes=1000), "net") == imagenet()


def test_larger_imagenets_follow_timms_inference() -> None:
    labels = output_labels(_network(num_classes=11821), "net")
    assert labels is not None
    assert labels.title == "imagenet-12k"
    assert [c.wnid for c in labels.classes] == list(ImageNetInfo("imagenet-12k").label_names())


def test_names_in_the_configuration_come_first() -> None:
    labels = output_labels(_network(num_classes=2, label_names=["n01443537", "n02110958"]), "net")
    assert labels is not None
    assert [(c.index, c.wnid, c.name) for c in labels.classes] == [
        (0, "n01443537", "goldfish"),
        (1, "n02110958", "pug"),
    ]


def test_names_do_not_hold_for_another_number_of_units() -> None:
    assert output_labels(_network(3, num_classes=2, label_names=["a", "b"]), "net") is None
    assert output_labels(_network(50, num_classes=1000), "net") is None


def test_without_a_configuration_nothing_is_assumed() -> None:
    plain = torch.nn.Flatten()
    plain.num_classes = 1000  # type: ignore[assignment]
    assert output_labels(plain, "net") is None


def test_imagenets_own_ids_are_recognised() -> None:
    wnids = [str(c.wnid) for c in imagenet().classes]
    assert named_outputs(wnids) == imagenet()
    assert named_outputs(wnids[::-1]) != imagenet()
