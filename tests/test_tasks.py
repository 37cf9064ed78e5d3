"""The examples of docs/tasks.md, run as they stand there with small networks and few images."""

import re
import shlex
import sys
from importlib import util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import se_probe
from se_probe.cli import app

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "tasks.md").read_text(encoding="utf-8")
FILES = {match[1]: match[2] for match in re.finditer(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL)}
LINES = re.findall(r"^se-probe (.+)$", PAGE, re.MULTILINE)


def line_of(verb, file):
    """The last line of a verb on the network of a file."""
    return [line for line in LINES if line.startswith(f"{verb} ") and file in line][-1]


def noise(folder, count, size=32, seed=0):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for place in range(count):
        yield folder / f"{place:02d}.png", rng.integers(0, 255, (size, size, 3), dtype=np.uint8)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def run(line, *more):
    given = [*shlex.split(line), "--out", "run", "--workers", "0", "--no-progress", *more]
    return CliRunner().invoke(app, given, catch_exceptions=False)


def test_the_page_has_a_file_for_each_task():
    assert set(FILES) == {"denoise.py", "segment.py", "embed.py", "sound.py"}


def test_denoising(place):
    for path, pixels in noise(place / "photographs" / "clean", 6):
        Image.fromarray(pixels).save(path)
    for (path, pixels), clean in zip(
        noise(place / "photographs" / "noisy", 6, seed=1),
        sorted((place / "photographs" / "clean").iterdir()),
        strict=True,
    ):
        Image.fromarray((0.8 * np.array(Image.open(clean)) + 0.2 * pixels).astype(np.uint8)).save(path)
    done = run(line_of("ablate", "denoise.py"))
    assert done.exit_code == 0, done.output
    ablation = se_probe.open_ablation("run")
    assert ablation.metric["unit"] == "dB"
    assert set(ablation.images["class"]) == {"images"}
    network = loaded("denoise").network()
    first = ablation.images["path"].iloc[0]
    noisy, clean = (
        np.array(Image.open(place / "photographs" / part / first), dtype=np.float64) / 255
        for part in ("noisy", "clean")
    )
    with torch.no_grad():
        output = (
            network(torch.from_numpy(noisy.transpose(2, 0, 1)[None]).float())[0].double().numpy().transpose(1, 2, 0)
        )
    expected = -10 * np.log10(np.mean((output.clip(0, 1) - clean) ** 2))
    assert float(ablation.outcomes["clean_metric"][0]) == pytest.approx(expected, abs=1e-3)
    report = (place / "run" / "report.html").read_text(encoding="utf-8")
    assert "The metric is psnr" in report
    assert "psnr, dB" in report


def test_segmentation(place):
    for (path, pixels), (mask, values) in zip(
        noise(place / "scenes" / "images", 3, 64), noise(place / "scenes" / "masks", 3, 64, seed=1), strict=True
    ):
        Image.fromarray(pixels).save(path)
        Image.fromarray(values[..., 0] % 3).save(mask)
    done = run(line_of("ablate", "segment.py"), "--no-report")
    assert done.exit_code == 0, done.output
    ablation = se_probe.open_ablation("run")
    assert ablation.metric["name"] == "iou"
    assert ((ablation.outcomes["metric"] >= 0) & (ablation.outcomes["metric"] <= 1)).all()
    assert len(ablation.interventions) > 5


def test_metric_learning(place):
    for kind in ("wren", "finch"):
        for path, pixels in noise(place / "birds" / kind, 3, 40, seed=len(kind)):
            Image.fromarray(pixels).save(path)
    done = run(line_of("ablate", "embed.py"), "--no-report")
    assert done.exit_code == 0, done.output
    outcomes = se_probe.open_ablation("run").outcomes
    np.testing.assert_allclose(outcomes["clean_metric"], 0, atol=1e-6)
    assert (outcomes["metric"] > 0).any()
    assert pd.unique(outcomes["class"].to_numpy()).size == 2


def test_sound():
    sound = loaded("sound")
    torch.manual_seed(0)
    network = sound.Tagger().eval()
    seconds = torch.arange(2000) / 8000
    tones = torch.arange(30) % 3
    waves = torch.stack(
        [torch.sin(2 * torch.pi * (220 * 2**tone) * seconds + phase) for phase, tone in enumerate(tones)]
    )
    ((site, rise, low, high),) = sound.worth_of_gates(network, waves[:, None], tones)
    with torch.no_grad():
        maps = network.enter(waves[:, None]).relu()
        gates = network.gate.excite(maps.mean(dim=2))
        held = network.leave((maps * gates.mean(dim=0)[None, :, None]).mean(dim=2))
        change = sound.loss(held, tones) - sound.loss(network(waves[:, None]), tones)
    expected = np.mean([change[tones == tone].double().mean() for tone in range(3)])
    assert site.startswith("SE_")
    assert rise == pytest.approx(expected, abs=1e-6)
    assert low < rise < high


def loaded(name):
    spec = util.spec_from_loader(name, loader=None)
    module = util.module_from_spec(spec)
    sys.modules.setdefault(f"task_{name}", module)
    exec(compile(FILES[f"{name}.py"], f"{name}.py", "exec"), module.__dict__)
    return module
