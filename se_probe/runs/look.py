"""Look at single images: what the network answers, which gates are unusual, what they do, where they look."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from se_probe.analysis.gates import site_moments
from se_probe.analysis.unusual import UnusualGates, evidence_place, gate_rows, unusual_gates
from se_probe.analysis.words import word_tables
from se_probe.errors import SeProbeError
from se_probe.figures.maps import GatePanel, image_maps
from se_probe.gates import GateMapper, GateSite, discover, gate_effects, require_gates
from se_probe.images.decode import UndecodableImageError, decode_rgb
from se_probe.images.open import Drawings
from se_probe.io.log import tell
from se_probe.io.progress import status
from se_probe.models import LoadedModel
from se_probe.recording import Recording, open_recording
from se_probe.recording.run_folder import FIGURES, choose_folder
from se_probe.report.figures import report_figure
from se_probe.report.pages import LookedImage, gates_table, look_html
from se_probe.runs.artifacts import Artifacts, Drawn
from se_probe.runs.joining import recorded_network, require_same
from se_probe.runs.maps import picture_of
from se_probe.runs.options import verb
from se_probe.runs.plan import device_of, load_network, require_one_process
from se_probe.runs.presets import DEFAULT
from se_probe.runs.settings import LookSettings

ANSWERS = 3
"""Classes shown of each image."""
AT_ONCE = 8
"""Images that go through the network together; their feature maps are kept for the gradient."""
KEYS = ["site", "branch", "channel"]
PAGE = "look.html"
_DRAWING = "demo/"


@dataclass(frozen=True)
class Look:
    """What the gates of a network do on some images.

    Attributes:
        images: the paths.
        model: the network and its weights, in words.
        pixels: `(image, 3, height, width)`, the network's input.
        answers: one row per image and class, the `ANSWERS` most likely: `image` (from 0), `class`, `probability`.
        gates: one row per image and gate, the most notable of each image first: `image`, `site`, `branch`, `channel`,
            `gate`; `reference`, the mean over classes of the run (without one 1, or 1/M of M competing branches);
            `effect`, the change of the predicted class's logit, to first order, if the gate were the reference. Against
            a run also `sd`, `deviation` (see `analysis.unusual`) and `word` (see `analysis.words`).
        unusual: the comparison with the run, if any.
        maps: `(image, site, channel)` → `(height, width)`, what each position of the feature map adds to the gate's
            logit, for the gates that are shown and have maps.
        top: number of gates shown of each image.
        demo: whether the network or an image is one of the demo's.
        page: `look.html`, if written.
    """

    images: list[str]
    model: str
    pixels: torch.Tensor = field(repr=False)
    answers: pd.DataFrame = field(repr=False)
    gates: pd.DataFrame = field(repr=False)
    unusual: UnusualGates | None = field(repr=False)
    maps: Mapping[tuple[int, str, int], torch.Tensor] = field(repr=False)
    top: int = 10
    demo: bool = False
    page: Path | None = None

    def shown(self, image: int) -> pd.DataFrame:
        """Return the rows of `gates` shown of an image, with `evidence`, where in the image most of it is."""
        rows = self.gates[self.gates["image"] == image].head(self.top)
        evidence = [self._evidence(image, row) for row in rows.to_dict("records")]
        return rows.assign(evidence=pd.Series(evidence, index=rows.index, dtype=object)).reset_index(drop=True)

    def answer(self, image: int) -> str:
        """Return the network's answers to an image, in words."""
        rows = self.answers[self.answers["image"] == image]
        return ", ".join(f"{row['class']} {100 * row['probability']:.0f} %" for row in rows.to_dict("records"))

    def to_dict(self) -> list[dict[str, Any]]:
        """Return answers and the gates shown as JSON-able values, one entry per image."""
        return [
            {
                "image": path,
                "answers": self.answers[self.answers["image"] == image].drop(columns="image").to_dict("records"),
                "unusual": None if self.unusual is None else self.unusual.sentence(image),
                "gates": json.loads(self.shown(image).drop(columns=["image", "branches"]).to_json(orient="records")),
            }
            for image, path in enumerate(self.images)
        ]

    def _evidence(self, image: int, row: Mapping[Any, Any]) -> str | None:
        """Name the ninth of the image with most of the evidence for the gate's deviation, and its share."""
        found = self.maps.get((image, str(row["site"]), int(row["channel"])))
        if found is None or min(found.shape) < 3:  # no ninths
            return None
        towards = np.sign(row["gate"] - row["reference"]) * (-1 if row["branch"] == 0 and row["branches"] > 1 else 1)
        return evidence_place(found.double().cpu().numpy() * towards)

    def _repr_html_(self) -> str:
        """Show answers and gates as tables in a notebook."""
        parts = []
        for image, path in enumerate(self.images):
            table = self.shown(image).drop(columns=["image", "branches"])
            parts.append(pd.DataFrame({"image": [path], "answer": [self.answer(image)]}).to_html(index=False))
            parts.append(table.to_html(index=False, float_format="{:.3f}".format, na_rep="–"))
        return "".join(parts)


@verb(LookSettings)
def look(settings: LookSettings) -> Look:
    """Look at images of your own: what the network answers, which gates are unusual, what they do, where they look.

    Effects are of first order, as in `se_probe.gate_effects`; maps as in `se_probe.gate_maps`.

    Returns:
        Answers, gates and maps, as tables that show themselves in a notebook.

    Raises:
        SeProbeError: the network or a run cannot be opened or do not belong together, or an image cannot be decoded.
    """
    require_one_process("looking at images")
    if settings.by == "deviation" and settings.against is None:
        raise SeProbeError("--by deviation needs a run to compare gates with; name one with --against RUN.")
    recording = None if settings.against is None else open_recording(settings.against)
    default = DEFAULT.model if recording is None or settings.model is not None else recorded_network(recording)
    with status("loading the network", shown=settings.progress):
        model = load_network(settings, default)
    if recording is not None:
        require_same(recording, model)
    pixels = _pixels(settings.images, model).to(device_of(settings.device))
    network = model.network.to(pixels.device)
    with status("looking", shown=settings.progress):
        discovery = discover(network, model.input_size)
        require_gates(model.name, discovery)
        recorded = None if recording is None else {site.name for site in recording.sites}
        sites = [site for site in discovery.sites if recorded is None or site.name in recorded]
        references = _references(sites, recording)
        logits, gates, effects = _effects(network, pixels, sites, references)
        unusual = None if recording is None else unusual_gates(recording, gates)
        values = {"gate": gates, "reference": references, "effect": effects}
        table = _gate_table(sites, values, recording, unusual, settings)
        maps = _maps(network, pixels, table.groupby("image").head(settings.top), model.input_size)
    result = Look(
        images=[str(path) for path in settings.images],
        model=f"{model.name}, {model.weights}",
        pixels=pixels.cpu(),
        answers=_answers(logits, model, recording),
        gates=table,
        unusual=unusual,
        maps=maps,
        top=settings.top,
        demo=model.source == "demo" or any(str(path).startswith(_DRAWING) for path in settings.images),
    )
    return result if settings.out is None else _written(result, settings, model)


def _gate_table(
    sites: Sequence[GateSite],
    values: Mapping[str, Mapping[str, np.ndarray[Any, Any]]],
    recording: Recording | None,
    unusual: UnusualGates | None,
    settings: LookSettings,
) -> pd.DataFrame:
    """Return one row per image and gate, the most notable of each image first."""
    rows = []
    for site in sites:
        own = {name: by_site[site.name] for name, by_site in values.items()}
        rows.append(gate_rows(site, **own).assign(branches=site.branches))
    table = pd.concat(rows)
    by = settings.by or "effect"
    if recording is not None and unusual is not None:
        words = word_tables(recording, seed=settings.seed)[1][[*KEYS, "word"]]
        deviations = unusual.table[["image", *KEYS, "sd", "deviation"]]
        table = table.merge(deviations, on=["image", *KEYS]).merge(words, on=KEYS, how="left")
        by = settings.by or "deviation"
    table = table.assign(order=-table[by].abs().fillna(0.0))
    table = table.sort_values(["image", "order"], kind="stable", ignore_index=True)
    columns = ["image", *KEYS, "branches", "gate", "reference", "sd", "deviation", "effect", "word"]
    return table[[name for name in columns if name in table]]


def _written(look: Look, settings: LookSettings, model: LoadedModel) -> Look:
    """Write the page, the figures and the tables."""
    folder = choose_folder("look", Path(settings.out or "."), overwrite=settings.overwrite)
    folder.clear()
    artifacts = Artifacts(folder.path)
    images = []
    for image, path in enumerate(look.images):
        shown, stem = look.shown(image), f"image_{image + 1}"
        panels = [
            GatePanel(f"{row['site']} {row['channel']}", row["gate"], row["reference"], shares.double().numpy())
            for row in shown.to_dict("records")
            if (shares := look.maps.get((image, row["site"], row["channel"]))) is not None
        ]
        title = f"Where gates get their evidence: {Path(path).name}"
        figure = image_maps(picture_of(look.pixels[image], model.preprocessing), panels, title=title, demo=look.demo)
        artifacts.figures([Drawn(figure, shown, stem)])
        note = "The image as the network sees it, and the maps of the gates in the table, in its order."
        drawn = report_figure(folder.path / FIGURES, stem, "Gate maps", note)
        unusual = "" if look.unusual is None else look.unusual.sentence(image)
        images.append(LookedImage(path, look.answer(image), unusual, gates_table(shown), drawn))
    artifacts.tables({"gates.csv.gz": look.gates, "answers.csv": look.answers})
    artifacts.facts(
        {
            "command": settings.started_by,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "se-probe": version("se-probe"),
            "model": {"name": model.name, "weights": model.weights, "weights_sha256": model.weights_sha256},
            "images": look.images,
            "against": None if settings.against is None else str(settings.against),
            "demo": look.demo,
        }
    )
    about: dict[str, Any] = {"model": look.model, "against_run": look.unusual is not None, "demo": look.demo}
    return replace(look, page=artifacts.page(PAGE, look_html(images, **about, command=settings.started_by)))


def _pixels(paths: Sequence[str | Path], model: LoadedModel) -> torch.Tensor:
    """Decode images into the network's input, `(image, 3, height, width)`."""
    batch = []
    for path in paths:
        try:
            batch.append(model.transform(decode_rgb(partial(_opened, path))))
        except UndecodableImageError as error:
            raise SeProbeError(f"{path} cannot be decoded ({error}); expected an image file.") from error
    return torch.stack(batch)


def _opened(path: str | Path) -> Image.Image:
    if str(path).startswith(_DRAWING) and not Path(path).exists():
        try:
            return Drawings().open(str(path))
        except ValueError as error:
            raise SeProbeError(
                f"{path} is not a drawing of the demo; expected demo/CLASS/NUMBER, as demo/goldfish/0000."
            ) from error
    return Image.open(path)


def _references(sites: Sequence[GateSite], recording: Recording | None) -> dict[str, np.ndarray[Any, Any]]:
    """Return the gates that effects are measured against: the run's mean over classes, else those without a gate."""
    shapes = {site.name: (site.channels,) if site.branches == 1 else (site.branches, site.channels) for site in sites}
    if recording is None:
        return {site.name: np.full(shapes[site.name], 1 / site.branches) for site in sites}
    return {
        site.name: site_moments(recording, site).mean_gate.reshape(shapes[site.name])
        for site in recording.sites
        if site.name in shapes
    }


def _effects(
    network: torch.nn.Module,
    pixels: torch.Tensor,
    sites: Sequence[GateSite],
    references: Mapping[str, np.ndarray[Any, Any]],
) -> tuple[torch.Tensor, dict[str, np.ndarray[Any, Any]], dict[str, np.ndarray[Any, Any]]]:
    """Return logits, gates and effects on the predicted class's logit."""
    parts = [
        gate_effects(network, batch, outcome="predicted", reference=references, sites=sites)
        for batch in pixels.split(AT_ONCE)
    ]
    gates, effects = (
        {site.name: torch.cat([getattr(part, kind)[site.name] for part in parts]).cpu().numpy() for site in sites}
        for kind in ("gates", "effects")
    )
    return torch.cat([part.output for part in parts]).cpu(), gates, effects


def _maps(
    network: torch.nn.Module, pixels: torch.Tensor, shown: pd.DataFrame, size: Sequence[int]
) -> dict[tuple[int, str, int], torch.Tensor]:
    """Return the maps of the gates shown, if their sites have maps."""
    try:
        mapper = GateMapper(network, input_size=size)
    except SeProbeError as error:
        tell("note", f"no gate has a map: {error}")
        return {}
    mapped = {site.name for site in mapper.sites}
    for name, why in mapper.refused.items():
        if name in set(shown["site"]):
            tell("note", f"{name} has no maps: {why}")
    maps = {}
    for key, rows in shown[shown["site"].isin(mapped)].groupby("image"):
        image = int(str(key))
        channels = {str(site): sorted(set(own["channel"])) for site, own in rows.groupby("site")}
        for name, item in mapper(pixels[image : image + 1], channels).items():
            for channel, values in zip(channels[name], item.maps[0], strict=True):
                maps[image, name, channel] = values.cpu()
    return maps


def _answers(logits: torch.Tensor, model: LoadedModel, recording: Recording | None) -> pd.DataFrame:
    probabilities = logits.double().softmax(dim=1)
    top = probabilities.topk(min(ANSWERS, probabilities.shape[1]), dim=1)
    names = _unit_names(model, recording)
    return pd.DataFrame(
        [
            {"image": image, "class": names.get(unit, f"unit {unit}"), "probability": value}
            for image, (units, values) in enumerate(zip(top.indices.tolist(), top.values.tolist(), strict=True))
            for unit, value in zip(units, values, strict=True)
        ]
    )


def _unit_names(model: LoadedModel, recording: Recording | None) -> dict[int, str]:
    """Return the names of the output units, from the network, else from the recording's data."""
    if model.labels is not None:
        return {item.index: item.name for item in model.labels.classes if item.index is not None}
    if recording is None:
        return {}
    known = recording.classes.dropna(subset=["index"])
    return {int(unit): str(name) for unit, name in zip(known["index"], known["name"], strict=True)}
