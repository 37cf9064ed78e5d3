"""Small real runs for the report's tests: a network with two kinds of gates, images of noise, names of any kind."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn
from torchvision.transforms.functional import to_tensor

import se_probe
from se_probe.analysis.findings import Finding
from se_probe.labels import label_space_from_names
from se_probe.models import LoadedModel
from se_probe.recording import open_recording
from se_probe.report.channel_maps import FILE, SiteMaps, maps_file

SIDE = 32


PLAIN = ("goldfish", "cliff", "tabby")
HOSTILE = ("</script><script>bad()</script>", '"><img src=x onerror=bad()>', "<b>bold</b> & 'quoted' {{ 7 * 7 }}")
HOSTILE_MODEL = '</title><script>bad("model")</script>'
HOSTILE_FILE = '"><img src=x onerror=bad()>.png'


QUIET = {"workers": 0, "progress": False, "report": False}
FINDING = Finding(
    "gates-alive",
    "Gates are alive.",
    "supported",
    "They move at SITE.",
    0.25,
    (0.2, 0.3),
    ("SK_3_1",),
    title="Live sites",
    result="2 of 2",
    quantity="standard deviation over images",
    bar="0.02",
    news="All gates move.",
)
HOSTILE_FINDING = Finding(
    "hostile",
    HOSTILE[0],
    "cannot be judged",
    HOSTILE[1],
    sites=(HOSTILE[1],),
    title=HOSTILE[2],
    result=HOSTILE[0],
    news=HOSTILE[1],
    remedy=HOSTILE[0],
)


class Gated(nn.Module):
    """A sigmoid gate, whose first channel follows the brightness of an image, and one of two branches after it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 12, 3, stride=4, padding=1)
        self.excite = nn.Linear(12, 12)
        self.down = nn.Conv2d(12, 6, 3, stride=2, padding=1)
        self.attend = nn.Linear(6, 12)

    def forward(self, x):
        x, brightness = self.stem(x), x.mean((1, 2, 3))
        logits = 4 * self.excite(x.mean((2, 3)))
        logits = torch.cat([20 * (brightness[:, None] - 0.5), logits[:, 1:]], dim=1)
        x = self.down(x * torch.sigmoid(logits)[:, :, None, None])
        branches = torch.stack([x, x.roll(1, 2)], dim=1)
        weights = torch.softmax(self.attend(x.mean((2, 3))).reshape(-1, 2, 6), dim=1)
        return (branches * weights[..., None, None]).sum(1).mean((2, 3))[:, :3]


def network(names=PLAIN, model_name="gated") -> LoadedModel:
    torch.set_num_threads(1)
    return LoadedModel(
        network=Gated().eval(),
        name=model_name,
        source="file",
        weights="random (seed 0)",
        weights_sha256="0" * 64,
        input_size=(3, SIDE, SIDE),
        preprocessing={"input_size": [3, SIDE, SIDE], "source": "the test"},
        transform=to_tensor,
        labels=label_space_from_names(list(names), title="labels of the network"),
    )


def photographs(root: Path, images=8, last_name=None) -> Path:
    """Three classes in folders by number; within a class, and from class to class, images get brighter."""
    rng = np.random.default_rng(0)
    for position in range(3):
        (root / str(position)).mkdir(parents=True)
        for index in range(images):
            level = 40 + 60 * position + 5 * index
            pixels = np.clip(rng.normal(level, 20, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
            name = last_name if last_name and index == images - 1 else f"{index}.png"
            Image.fromarray(pixels).save(root / str(position) / name)
    return root


def run(folder: Path, names=PLAIN, model_name="gated", last_name=None, **options) -> Path:
    """Record all three classes with `excite`; return the run's folder."""
    data = folder / "data"
    if not data.exists():
        photographs(data, last_name=last_name)
    chosen = {"data": data, "model": network(names, model_name), **QUIET, **options}
    se_probe.excite(["0", "1", "2"], out=folder / "run", **chosen)
    return folder / "run"


def with_dictionary(run: Path) -> Path:
    """Put tables of the first site into a run's folder: a word, effects, factors, and maps in three images."""
    rows = pd.DataFrame({"site": "SE_2_1", "branch": 0, "channel": range(12)})
    words = rows.assign(word=None, auc=0.7, sibling_auc=0.6, difference=0.25, q=0.5)
    words.loc[3, ["word", "auc", "q"]] = [HOSTILE[2], 0.95, 0.01]
    effects = pd.concat([rows.assign(**{"class": name, "mean": 0.0, "q": 0.5}) for name in ("tabby", "cliff")])
    effects.loc[7, "q"] = 0.01
    effects.loc[7, "mean"] = [-0.5, 0.25]
    effects = effects.assign(ci_low=effects["mean"] - 0.125, ci_high=effects["mean"] + 0.125)
    factors = rows.assign(factor="size", share=0.3, q=0.01)
    tables = {"words": words, "effects": effects, "factors": factors}
    for name, table in tables.items():
        table.to_csv(run / "tables" / f"channel_{name}.csv.gz", index=False)
    order = np.argsort(open_recording(run).gates("SE_2_1").to_numpy()[:, 0], kind="stable")
    images = open_recording(run).gates("SE_2_1")["image"].to_numpy()[order[[-1, -2, 0]]]
    shares = np.stack([np.full((4, 4), level, dtype=np.float32) for level in (1, 0.5, -1)])
    maps = {"SE_2_1": SiteMaps(np.array([0]), images[None], shares[None])}
    (run / "tables" / FILE).write_bytes(maps_file(maps))
    return run


def demo_run(folder: Path) -> Path:
    """Record two drawings of two classes."""
    se_probe.excite(["goldfish", "pug"], demo=True, per_class=2, reference_per_class=1, out=folder / "run", **QUIET)
    return folder / "run"
