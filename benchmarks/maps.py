"""Gate maps against Grad-CAM of the gate and integrated gradients: the same masks of pixels, and time.

    python -m benchmarks.maps --data DIR [--images 20] [--sites SE_2_4,SE_4_2]

For `photo:se`; needs captum (extra `bench`). Attributions in pixels are averaged to the grid of the feature map, so
that all masks have one grain and the random areas are the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from captum.attr import IntegratedGradients, LayerGradCam
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d

import se_probe
from se_probe.ablation.maps import blur, logits_masked
from se_probe.analysis import sample_channels
from se_probe.analysis.map_faithfulness import Masked, map_faithfulness
from se_probe.gates import GateMapper, GateSite
from se_probe.images import batches

STEPS = 10
Attribution = Callable[[torch.Tensor, int], torch.Tensor]


class Logits(nn.Module):
    """A network that returns the gate logits of one SE module, for captum."""

    def __init__(self, network: nn.Module, site: GateSite) -> None:
        super().__init__()
        self.network, self.module = network, network.get_submodule(site.module)
        self._caught: list[torch.Tensor] = []
        self.module.get_submodule("fc2").register_forward_hook(lambda _m, _a, output: self._caught.append(output))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return `(image, channel)`."""
        self._caught.clear()
        self.network(images)
        return self._caught[0].flatten(1)


def ways(network: nn.Module, mapper: GateMapper, site: GateSite) -> dict[str, Attribution]:
    """Return name → attribution `(image, height, width)` of a channel's logit."""
    logits = Logits(network, site)
    camera, gradients = LayerGradCam(logits, logits.module), IntegratedGradients(logits)

    def gate_map(images: torch.Tensor, channel: int) -> torch.Tensor:
        return mapper(images, {site.name: [channel]})[site.name].maps[:, 0]

    def grad_cam(images: torch.Tensor, channel: int) -> torch.Tensor:
        found: torch.Tensor = camera.attribute(
            images, target=channel, attribute_to_layer_input=True, relu_attributions=True
        )
        return found[:, 0].detach()

    def integrated(images: torch.Tensor, channel: int) -> torch.Tensor:
        found: torch.Tensor = gradients.attribute(
            images, baselines=blur(images), target=channel, n_steps=STEPS, internal_batch_size=len(images)
        )
        return found.sum(1).detach()

    return {"gate map": gate_map, "Grad-CAM of the gate": grad_cam, f"integrated gradients, {STEPS} steps": integrated}


def measure(
    network: nn.Module, mapper: GateMapper, site: GateSite, images: torch.Tensor, channels: Sequence[int]
) -> list[dict[str, object]]:
    """Return one row per way: what masks by it do to the logits, and milliseconds per map."""
    blurred, rows = blur(images), []
    clean = mapper(images, {site.name: channels})[site.name]
    for name, way in ways(network, mapper, site).items():
        since = time.process_time()
        heats = torch.stack([way(images, channel) for channel in channels], 1)
        spent = time.process_time() - since
        coarse = adaptive_avg_pool2d(heats, clean.maps.shape[-2:])
        draws = [np.random.default_rng(place) for place in range(len(images))]
        with torch.no_grad():
            changed = logits_masked(mapper, images, blurred, site.name, clean.channels, coarse, draws)
        masked = Masked((changed - clean.logit).double().numpy(), clean.logit.double().numpy())
        row = map_faithfulness({site.name: masked}).iloc[0].to_dict()
        rows.append({"way": name, **row, "ms": 1000 * spent / (len(images) * len(channels))})
    return rows


def table(rows: pd.DataFrame) -> str:
    """Return the rows as the table of the README."""
    lines = ["| site | method | highest − random | lowest − random | ms per map |", "|---|---|---|---|---|"]
    for row in rows.to_dict("records"):
        ends = [
            f"{row[f'{end}_minus_random']:+.2f} ({row[f'{end}_ci_low']:+.2f} to {row[f'{end}_ci_high']:+.2f})"
            for end in ("highest", "lowest")
        ]
        lines.append(f"| {row['site']} | {row['way']} | {ends[0]} | {ends[1]} | {row['ms']:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--channels", type=int, default=2)
    parser.add_argument("--sites", default="SE_1_3,SE_2_4,SE_3_6,SE_4_2")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = se_probe.load_model("photo:se")
    data = se_probe.open_images(given.data, model.labels)
    selection = se_probe.select(data, list(data.classes), per_class=1, reference_per_class=0)
    (batch, *_) = batches(selection, model.transform, batch_size=given.images, workers=0)
    mapper = GateMapper(model.network, given.sites.split(","), input_size=model.input_size)
    rows = [
        row
        for site in mapper.sites
        for row in measure(
            model.network, mapper, site, batch.images, sample_channels(site.channels, given.channels, 0).tolist()
        )
    ]
    print(f"{len(batch.images)} images, {given.channels} channels a site, torch {torch.__version__}, one thread")
    print(table(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
