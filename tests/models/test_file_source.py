"""Networks built by a function in a Python file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from se_probe.errors import SeProbeError
from se_probe.models import function_from_file, load_model

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared networks and photographs")

FILE = """
from __future__ import annotations
from dataclasses import dataclass
from torch import nn
import helper_beside_it

@dataclass
class Net(nn.Module):
    width: int = 2

    def __post_init__(self):
        super().__init__()
        self.fc = nn.Linear(3, self.width)

    __hash__ = object.__hash__

def build(width=2):
    from helper_beside_it import SCALE
    return Net(width * SCALE)

def number():
    return 7

def broken():
    raise ValueError("two\\nlines")

def leaving():
    raise SystemExit(3)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "helper_beside_it.py").write_text("SCALE = 5\n")
    (tmp_path / "mine.py").write_text(FILE)
    return tmp_path / "mine.py"


@pytest.fixture(autouse=True)
def _forget_helper() -> object:
    yield
    sys.modules.pop("helper_beside_it", None)


def refusal(spec: str, **options: object) -> str:
    with pytest.raises(SeProbeError) as caught:
        load_model(spec, **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_the_function_gets_the_arguments_and_the_caller_gets_the_network(file: Path) -> None:
    path, modules = list(sys.path), set(sys.modules)
    model = load_model(f"{file}:build", model_args={"width": 3})
    assert model.network.fc.out_features == 15
    assert (model.name, model.source, model.weights) == ("mine.py:build", "file", "as built by mine.py:build")
    assert not model.network.training
    assert not any(parameter.requires_grad for parameter in model.network.parameters())
    assert model.labels is None
    assert sys.path == path
    assert len(set(sys.modules) - modules - {"helper_beside_it"}) == 1
    assert not list(file.parent.glob("__pycache__/mine*"))


def test_without_a_configuration_timms_defaults_are_used_and_named(file: Path) -> None:
    model = load_model(f"{file}:build")
    assert model.input_size == (3, 224, 224)
    assert dict(model.preprocessing) == {
        "input_size": [3, 224, 224],
        "interpolation": "bicubic",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "crop_pct": 0.875,
        "crop_mode": "center",
        "source": "timm's defaults (the network has no pretrained_cfg)",
    }


def test_building_is_seeded_and_leaves_the_callers_random_state(file: Path) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    digests = [load_model(f"{file}:build", seed=seed).weights_sha256 for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_errors_of_the_file_come_out_as_one_line(file: Path) -> None:
    folder = file.parent
    (folder / "syntax.py").write_text("def build(:\n")
    (folder / "imports.py").write_text("x = 1\nimport no_such_module_anywhere\n")
    (folder / "exits.py").write_text("raise SystemExit('usage')\n")
    assert refusal(f"{folder}/none.py:build") == (
        f"there is no file {folder}/none.py; expected a Python file with a function build"
    )
    assert refusal(f"{folder}/syntax.py:build") == (
        "syntax.py cannot be run: SyntaxError: invalid syntax (syntax.py, line 1)"
    )
    assert refusal(f"{folder}/imports.py:build") == (
        "imports.py cannot be run: ModuleNotFoundError: No module named 'no_such_module_anywhere' (line 2)"
    )
    assert refusal(f"{folder}/exits.py:build") == "exits.py cannot be run: SystemExit: usage (line 1)"
    assert refusal(f"{file}:biuld") == (
        "mine.py has no function biuld; near names: build; expected one that returns a torch.nn.Module"
    )
    assert refusal(f"{file}:number") == "mine.py:number() returned int; expected a torch.nn.Module"
    assert refusal(f"{file}:broken") == "mine.py:broken() failed: ValueError: two lines (line 25)"
    assert refusal(f"{file}:leaving") == "mine.py:leaving() failed: SystemExit: 3 (line 28)"
    assert refusal(f"{file}:build", model_args={"depth": 2}) == (
        "mine.py:build(depth=2) failed: TypeError: build() got an unexpected keyword argument 'depth'"
    )


def test_random_weights_are_refused_for_a_function_that_brings_its_own(file: Path) -> None:
    assert refusal(f"{file}:build", random_weights=True) == (
        f"random weights were requested, but {file}:build brings its own; choose one of the two"
    )


@needs_shared
def test_the_shared_network_knows_its_labels_and_names_photographs() -> None:
    model = load_model(f"{SHARED / 'models' / 'tin50.py'}:seresnet50_quarter")
    assert model.input_size == (3, 64, 64)
    assert model.labels is not None
    assert model.labels.classes[0].name == "goldfish"
    assert model.preprocessing["source"] == "pretrained_cfg of tin50.py:seresnet50_quarter"
    classes = [image_class for image_class in model.labels.classes if image_class.index is not None]
    assert len(classes) == 50
    folder = SHARED / "data" / "tiny-imagenet-50" / "val"
    photographs = [
        (path, image_class.index)
        for image_class in classes
        for path in sorted((folder / str(image_class.wnid)).glob("*.JPEG"))[:4]
    ]
    batch = torch.stack([model.transform(Image.open(path).convert("RGB")) for path, _ in photographs])
    predicted = model.network(batch).argmax(1)
    # README.md beside the network: 0.588 on all 2,500; four standard errors of 200 are 0.14.
    assert len(photographs) == 200
    assert 0.44 < (predicted == torch.tensor([index for _, index in photographs])).float().mean() < 0.73


def test_any_function_of_a_file(file: Path) -> None:
    before = list(sys.path)
    assert function_from_file(f"{file}:number", "returns a number")() == 7
    assert sys.path == before


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("psnr", r"^'psnr' names no function; expected path/to/file\.py:function, one that returns a number\.$"),
        ("{file}:", r"names no function"),
        ("{file}:nmber", r"^mine\.py has no function nmber; near names: number; expected one that returns a number$"),
        ("nowhere.py:psnr", r"^there is no file nowhere\.py; expected a Python file with a function psnr$"),
    ],
)
def test_what_names_no_function_is_refused(file: Path, spec: str, message: str) -> None:
    with pytest.raises(SeProbeError, match=message):
        function_from_file(spec.format(file=file), "returns a number")
