"""torchvision's networks: its cache, a server on the loopback interface, and none at all."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image
from torchvision.models import SqueezeNet1_1_Weights, get_model

from se_probe.errors import SeProbeError
from se_probe.labels import imagenet
from se_probe.models import load_model
from se_probe.models.torchvision_source import size_argument

from .conftest import REFUSED
from .hub import serve

WEIGHTS = SqueezeNet1_1_Weights.IMAGENET1K_V1  # the smallest file: 1.2 million parameters
SPEC = "torchvision:squeezenet1_1"


def weights_file() -> tuple[str, bytes, dict[str, torch.Tensor]]:
    """Return a weights file under torchvision's kind of name, which carries its hash, and what is in it."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        state = get_model("squeezenet1_1").state_dict()
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    return f"squeezenet1_1-{hashlib.sha256(content).hexdigest()[:8]}.pth", content, state


def point_at(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(WEIGHTS.value, "url", url)


def refusal(spec: str, **options: object) -> str:
    with pytest.raises(SeProbeError) as caught:
        load_model(spec, **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_weights_are_downloaded_once(monkeypatch: pytest.MonkeyPatch, torch_cache: Path) -> None:
    name, content, state = weights_file()
    with serve({f"/models/{name}": content}) as (address, requests):
        point_at(monkeypatch, f"{address}/models/{name}")
        models = [load_model(SPEC) for _ in range(2)]
    assert requests == [f"HEAD /models/{name}", f"GET /models/{name}"]
    assert (torch_cache / name).read_bytes() == content
    for model in models:
        own = model.network.state_dict()
        assert all(torch.equal(own[key], value) for key, value in state.items())
        assert (model.name, model.source, model.weights) == (SPEC, "torchvision", "pretrained IMAGENET1K_V1")
        assert model.labels == imagenet()


def test_a_download_that_breaks_off_is_one_line(monkeypatch: pytest.MonkeyPatch, torch_cache: Path) -> None:
    with serve({}) as (address, _):
        url = f"{address}/squeezenet1_1-00000000.pth"
        point_at(monkeypatch, url)
        message = refusal(SPEC)
    assert message == (
        f"the weights of {SPEC} cannot be obtained: there is no {torch_cache / 'squeezenet1_1-00000000.pth'} and its "
        "download failed (HTTPError: HTTP Error 404: Not Found); give --checkpoint FILE, put the file there "
        "(TORCH_HOME says where that is), or take --demo, which needs no download"
    )


def test_a_server_out_of_reach_says_what_was_tried(monkeypatch: pytest.MonkeyPatch, torch_cache: Path) -> None:
    point_at(monkeypatch, f"{REFUSED}/squeezenet1_1-00000000.pth")
    assert refusal(SPEC) == (
        f"the weights of {SPEC} cannot be obtained: there is no {torch_cache / 'squeezenet1_1-00000000.pth'} and "
        f"{REFUSED}/squeezenet1_1-00000000.pth could not be read ([Errno 111] Connection refused); "
        "give --checkpoint FILE, put the file there (TORCH_HOME says where that is), "
        "or take --demo, which needs no download"
    )


class Payload:
    """What an attacker's pickle does: call something while it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


def test_a_cached_file_that_would_run_code_is_refused(
    monkeypatch: pytest.MonkeyPatch, torch_cache: Path, tmp_path: Path
) -> None:
    torch_cache.mkdir(parents=True)
    point_at(monkeypatch, f"{REFUSED}/squeezenet1_1-00000000.pth")
    torch.save(Payload(tmp_path / "pwned"), torch_cache / "squeezenet1_1-00000000.pth")
    message = refusal(SPEC)
    assert message.startswith(
        f"{torch_cache / 'squeezenet1_1-00000000.pth'} cannot be read as tensors alone (Unpickling"
    )
    assert message.endswith("remove it, so that it is fetched again")
    assert "\n" not in message
    assert not (tmp_path / "pwned").exists()


def test_preprocessing_is_that_of_the_weights() -> None:
    model = load_model(SPEC, random_weights=True)
    image = Image.fromarray((torch.arange(300 * 260 * 3) % 251).to(torch.uint8).reshape(300, 260, 3).numpy())
    assert torch.equal(model.transform(image), WEIGHTS.transforms()(image))
    assert model.input_size == (3, 224, 224)
    assert dict(model.preprocessing) == {
        "input_size": [3, 224, 224],
        "resize_size": 256,
        "crop_pct": 0.875,
        "interpolation": "bilinear",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "source": "torchvision SqueezeNet1_1_Weights.IMAGENET1K_V1",
    }


def test_another_number_of_classes_has_no_labels() -> None:
    model = load_model(SPEC, random_weights=True, model_args={"num_classes": 9})
    assert model.labels is None
    assert model.network(torch.zeros(1, 3, 64, 64)).shape == (1, 9)


def test_unknown_names_suggest_near_ones() -> None:
    assert refusal("torchvision:squeezenet1_2") == (
        f'torchvision {torchvision.__version__} has no classification network "squeezenet1_2"; '
        "near names: squeezenet1_1, squeezenet1_0; se-probe models PATTERN lists those with gates"
    )
    assert refusal("torchvision:fasterrcnn_resnet50_fpn") == (
        f'torchvision {torchvision.__version__} has no classification network "fasterrcnn_resnet50_fpn"; '
        "se-probe models PATTERN lists those with gates"
    )


def test_arguments_that_torchvision_refuses_are_named() -> None:
    assert refusal(SPEC, random_weights=True, model_args={"wings": 2}) == (
        "torchvision cannot build squeezenet1_1(wings=2) (TypeError: SqueezeNet.__init__() got an unexpected keyword "
        "argument 'wings'); check the arguments given with --model-arg"
    )


def test_vision_transformers_without_weights_take_the_size_of_their_preprocessing() -> None:
    # torchvision: the end-to-end SWAG weights of ViT-H/14 are for 518 pixels, the bare builder is for 224.
    assert size_argument("vit_h_14") == {"image_size": 518}
    assert size_argument("squeezenet1_1") == {}
