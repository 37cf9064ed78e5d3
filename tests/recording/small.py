"""A small gated network and many tiny images, for runs that are killed, stopped and spread over processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from se_probe.gates import find_gates
from se_probe.images import open_images, select
from se_probe.labels import LabelSpace
from se_probe.models import LoadedModel, model_of
from se_probe.recording import Execution, Recording, provenance_of, record

CLASSES = ("alpha", "beta", "gamma")
IMAGES = 20
BATCH, SHARD = 4, 8


class SEModule(nn.Module):
    """Squeeze, excite, scale."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features * torch.sigmoid(self.fc(features.mean((2, 3))))[:, :, None, None]


class SmallNetwork(nn.Module):
    """Two gated blocks; `pretrained_cfg` as timm writes it."""

    pretrained_cfg = {"input_size": (3, 16, 16), "mean": (0.5,) * 3, "std": (0.5,) * 3, "crop_pct": 1.0}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=4, padding=1)
        self.first = nn.Sequential(nn.ReLU(), SEModule(6))
        self.down = nn.Conv2d(6, 5, 3, stride=2, padding=1)
        self.second = nn.Sequential(nn.ReLU(), SEModule(5))
        self.head = nn.Linear(5, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.second(self.down(self.first(self.stem(images))))
        return self.head(features.mean((2, 3)))


def small_model(seed: int = 0) -> LoadedModel:
    """Return the network with weights drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model_of(SmallNetwork().eval())


def draw_images(root: Path) -> Path:
    """Put `IMAGES` images of each class below a folder, one of which is broken."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for index in range(IMAGES):
            pixels = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index:03d}.png")
    (root / "beta" / "007.png").write_bytes(b"no image at all")
    return root


def run(
    data: Path,
    path: Path,
    *,
    model: LoadedModel | None = None,
    capture=(),
    labels: LabelSpace | None = None,
    seed: int = 0,
    per_class: tuple[int, int] = (50, 50),
    **options,
) -> Recording:
    """Record the small network over the images; alpha and beta are chosen, gamma is reference."""
    model = model or small_model()
    images = open_images(data, labels)
    chosen = [item.image_class for item in images.labels.resolve_all(["alpha", "beta"])]
    selection = select(images, chosen, per_class=per_class[0], reference_per_class=per_class[1], seed=seed)
    provenance = provenance_of(
        model, selection, command="test", settings={"capture": list(capture)}, spatial_maps={}, demo=False
    )
    settings = {"batch_size": BATCH, "shard_images": SHARD, **options}
    sites = find_gates(model.network, model.input_size)
    settings = {"execution": Execution(exact=True), **settings}  # no image is looked at before the run
    return record(model, sites, selection, path, provenance=provenance, capture=capture, **settings)


def assert_same(recording: Recording, expected: Recording, *, atol: float = 0.0) -> None:
    """Compare all that two recordings hold: images and gates within `atol`, moments to the rounding of float64."""
    assert recording.complete
    assert expected.complete
    facts = ["path", "class", "class_index", "wnid", "role", "predicted", "predicted_index"]
    assert recording.images[facts].equals(expected.images[facts])
    np.testing.assert_allclose(recording.images["probability"], expected.images["probability"], rtol=0, atol=atol)
    assert recording.skipped.equals(expected.skipped)
    assert recording.classes.equals(expected.classes)
    assert recording.sites == expected.sites
    for site in recording.sites:
        gates, other = recording.gates(site.name), expected.gates(site.name)
        assert gates["image"].values.tolist() == other["image"].values.tolist()
        np.testing.assert_allclose(gates.values, other.values, rtol=0, atol=atol)
        moments, wanted = recording.moments(site.name), expected.moments(site.name)
        assert moments["count"].values.tolist() == wanted["count"].values.tolist()
        for name in ("mean", "m2"):
            np.testing.assert_allclose(moments[name].values, wanted[name].values, rtol=1e-12, atol=1e-14 + atol)
