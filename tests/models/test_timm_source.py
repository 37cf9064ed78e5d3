"""timm's networks: the hub's cache, a hub on the loopback interface, and none at all."""

from __future__ import annotations

import os
import re
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch

from se_probe.errors import SeProbeError
from se_probe.labels import imagenet
from se_probe.models import LoadedModel, load_model

from .conftest import REFUSED, set_endpoint
from .hub import ARCHITECTURE, COMMIT, REPOSITORY, TAGGED, fill_cache, hub_paths, network_files, serve


def holds(model: LoadedModel, state: dict[str, torch.Tensor]) -> bool:
    own = model.network.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[key], value) for key, value in state.items())


def refusal(spec: str, **options: object) -> str:
    with pytest.raises(SeProbeError) as caught:
        load_model(spec, **options)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize("name", [ARCHITECTURE, TAGGED])
def test_a_timm_name_loads_from_the_hub_cache(hub_cache: Path, name: str) -> None:
    files, state = network_files()
    fill_cache(hub_cache, REPOSITORY, files)
    model = load_model(name)
    assert holds(model, state)
    assert (model.name, model.source, model.weights) == (TAGGED, "timm", "pretrained r160_in1k")
    assert model.labels == imagenet()
    assert not model.network.training
    assert not any(parameter.requires_grad for parameter in model.network.parameters())


@pytest.mark.parametrize("revision", ["", "@main", f"@{COMMIT}"])
def test_a_hub_id_loads_from_the_hub_cache(hub_cache: Path, revision: str) -> None:
    files, state = network_files()
    fill_cache(hub_cache, "someone/net", files)
    model = load_model(f"hf-hub:someone/net{revision}")
    assert holds(model, state)
    assert (model.name, model.source) == (f"hf-hub:someone/net{revision}", "hf-hub")
    assert model.weights == f"pretrained someone/net{revision}"
    assert model.input_size == (3, 96, 128)
    assert model.preprocessing["mean"] == [0.1, 0.2, 0.3]
    assert model.preprocessing["source"] == f"config.json of hf-hub:someone/net{revision}"


def test_labels_come_from_the_hub_configuration(hub_cache: Path) -> None:
    files, _ = network_files({"label_names": [f"kind {i}" for i in range(1000)]})
    fill_cache(hub_cache, "someone/net", files)
    labels = load_model("hf-hub:someone/net").labels
    assert labels is not None
    assert labels.title == "labels of the network"
    assert [image_class.name for image_class in labels.classes[:2]] == ["kind 0", "kind 1"]


def test_the_cache_is_enough_when_downloads_are_switched_off(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, state = network_files()
    fill_cache(hub_cache, REPOSITORY, files)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert holds(load_model(ARCHITECTURE), state)
    assert holds(load_model(f"hf-hub:{REPOSITORY}"), state)


@pytest.mark.parametrize("spec", [ARCHITECTURE, f"hf-hub:{REPOSITORY}"])
def test_a_hub_is_downloaded_from_once(hub_cache: Path, monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    files, state = network_files()
    with serve(hub_paths(REPOSITORY, files)) as (address, requests):
        set_endpoint(monkeypatch, address)
        assert holds(load_model(spec), state)
        weights = f"GET /{REPOSITORY}/resolve/main/model.safetensors"
        assert requests.count(weights) == 1
        assert (hub_cache / f"models--{REPOSITORY.replace('/', '--')}" / "snapshots" / COMMIT).is_dir()
        asked = len(requests)
        assert holds(load_model(spec), state)
        assert len(requests) == asked


def test_a_name_without_weights_within_reach_says_what_was_tried(hub_cache: Path) -> None:
    ways_out = (
        "give --checkpoint FILE, bring that cache from a machine with access (HF_HOME says where it is), "
        "or take --demo, which needs no download"
    )
    assert refusal(ARCHITECTURE) == (
        f"the weights of {ARCHITECTURE} cannot be obtained: {REPOSITORY} is not in the hub cache {hub_cache} and "
        f"{REFUSED}/{REPOSITORY}/resolve/main/model.safetensors could not be read "
        f"(ConnectError: [Errno 111] Connection refused); {ways_out}"
    )
    assert refusal("hf-hub:a/b", random_weights=True) == (
        f"the configuration of hf-hub:a/b cannot be obtained: a/b is not in the hub cache {hub_cache} and "
        f"{REFUSED}/a/b/resolve/main/config.json could not be read "
        f"(ConnectError: [Errno 111] Connection refused); {ways_out}"
    )


def test_downloads_that_are_switched_off_are_named(
    hub_cache: Path, torch_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert refusal(ARCHITECTURE) == (
        f"the weights of {ARCHITECTURE} cannot be obtained: {REPOSITORY} is not in the hub cache {hub_cache} and "
        "HF_HUB_OFFLINE forbids a download; give --checkpoint FILE, bring that cache from a machine with access "
        "(HF_HOME says where it is), or take --demo, which needs no download"
    )
    file = torch_cache / "se_resnet50-ce0d4300.pth"
    config = timm.get_pretrained_cfg("legacy_seresnet50")
    if config.hf_hub_id:
        pytest.skip("this timm keeps the weights of legacy_seresnet50 on the hub")
    assert refusal("legacy_seresnet50") == (
        f"the weights of legacy_seresnet50 cannot be obtained: there is no {file} and HF_HUB_OFFLINE forbids a "
        "download; give --checkpoint FILE, put the file there (TORCH_HOME says where that is), or take --demo, "
        "which needs no download"
    )


def test_a_repository_that_the_hub_lacks_is_named(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve({}) as (address, _):
        set_endpoint(monkeypatch, address)
        message = refusal("hf-hub:a/b")
    start = f"the weights of hf-hub:a/b cannot be obtained: a/b is not in the hub cache {hub_cache} and reading it"
    assert message.startswith(start)
    assert message.endswith("or take --demo, which needs no download")
    assert "\n" not in message


def test_damaged_weights_in_the_cache_are_named(hub_cache: Path) -> None:
    files, _ = network_files()
    snapshot = fill_cache(hub_cache, REPOSITORY, {**files, "model.safetensors": b"broken"})
    assert refusal(ARCHITECTURE) == (
        f"{snapshot / 'model.safetensors'} is in the hub cache, but reading it failed "
        "(SafetensorError: Error while deserializing header: header too small); remove it, so that it is fetched again"
    )


def test_a_malformed_hub_id_is_refused() -> None:
    assert refusal("hf-hub:a/b/c") == '"a/b/c" is no hub id; expected ORG/NAME or ORG/NAME@REVISION'


def test_unknown_names_suggest_near_ones() -> None:
    message = (
        rf'timm {re.escape(timm.__version__)} has no network "legacy_seresnet5O"; near names: legacy_seresnet50'
        r"(, legacy_seresnet\d+){4}; se-probe models PATTERN lists those with gates"
    )
    with pytest.raises(SeProbeError, match=f"^{message}$"):
        load_model("legacy_seresnet5O")
    assert refusal("legacy_seresnet50.in22k") == (
        f'timm {timm.__version__} has no weights "in22k" for legacy_seresnet50; expected in1k'
    )


def test_an_architecture_without_pretrained_weights_says_so() -> None:
    assert refusal("seresnet18") == (
        f"timm {timm.__version__} has no pretrained weights for seresnet18; "
        "give --checkpoint FILE, or --random-weights to look at an untrained network"
    )


def test_arguments_that_timm_refuses_are_named() -> None:
    assert refusal(ARCHITECTURE, model_args={"wings": 2}, random_weights=True) == (
        f"timm cannot build {ARCHITECTURE}(wings=2) (TypeError: EfficientNet.__init__() got an unexpected keyword "
        "argument 'wings'); check the arguments given with --model-arg"
    )


def test_another_classifier_is_named_as_untrained_and_has_no_labels(hub_cache: Path) -> None:
    files, state = network_files()
    fill_cache(hub_cache, REPOSITORY, files)
    model = load_model(ARCHITECTURE, model_args={"num_classes": 7})
    assert model.weights == "pretrained r160_in1k with an untrained classifier of 7 classes"
    assert model.labels is None
    assert torch.equal(model.network.conv_stem.weight, state["conv_stem.weight"])


def test_loading_leaves_the_environment_and_random_state_alone(hub_cache: Path) -> None:
    files, _ = network_files()
    fill_cache(hub_cache, REPOSITORY, files)
    environment, random_state = dict(os.environ), torch.get_rng_state()
    load_model(ARCHITECTURE)
    assert dict(os.environ) == environment
    assert torch.equal(torch.get_rng_state(), random_state)
