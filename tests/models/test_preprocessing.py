"""Preprocessing by the network's own configuration."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from timm.models import PretrainedCfg

from se_probe.errors import SeProbeError
from se_probe.models import load_model
from se_probe.models.preprocessing import timm_preprocessing

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
    made = timm_preprocessing(network, "net", source="here", model_args={})
    assert made.input_size == (3, 32, 48)
    assert made.facts["mean"] == [0.5, 0.5, 0.5]
    assert made.facts["source"] == "here"


def test_networks_for_other_than_three_channels_are_refused() -> None:
    with pytest.raises(SeProbeError) as caught:
        load_model("test_efficientnet", random_weights=True, model_args={"in_chans": 1})
    assert str(caught.value) == (
        "test_efficientnet.r160_in1k expects 1 input channels; photographs have 3, red, green and blue"
    )


def test_a_configuration_that_timm_cannot_read_is_named() -> None:
    network = torch.nn.Flatten()
    network.pretrained_cfg = {"input_size": (3, 32, 32), "crop_pct": "most"}  # type: ignore[assignment]
    with pytest.raises(SeProbeError) as caught:
        timm_preprocessing(network, "mine.py:build", source="here", model_args={})
    assert str(caught.value).startswith("the preprocessing of mine.py:build cannot be made from its pretrained_cfg (")
    assert str(caught.value).endswith("expected input_size, mean, std, interpolation and crop_pct as timm writes them")
