"""Join an earlier run: `--run` reuses its network, classes and images.

The result goes into the run's folder, where the report finds it (`report.results.SECTIONS`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from se_probe.errors import SeProbeError
from se_probe.gates import GateSite
from se_probe.images import Selection
from se_probe.models import LoadedModel
from se_probe.recording import Recording, open_recording
from se_probe.recording.header import selection_digest
from se_probe.recording.run_folder import RunFolder, choose_folder
from se_probe.runs.record import folder_of
from se_probe.runs.settings import AblateSettings, JoinSettings, ScaleSettings

# Sources whose networks a recording may name: it may be someone else's, and must not choose code to run.
NAMED = ("timm", "torchvision", "demo", "photo")

S = TypeVar("S", bound=JoinSettings)
R = TypeVar("R", AblateSettings, ScaleSettings)


def join(settings: S) -> tuple[S, Recording | None]:
    """Complete settings from the run that they name, if any; return them and its recording.

    Nothing that the recording names is opened or run: code, checkpoints and folders of images must be given again.
    """
    if settings.run is None:
        return settings, None
    recording = complete_run(settings.run)
    data = recording.provenance["data"]
    changed: dict[str, Any] = {"per_class": data["per_class"], "seed": data["seed"]}
    if settings.model is None:
        changed["model"] = recorded_network(recording)
    if settings.data is None and not settings.demo:
        if data["title"] != "demo":
            raise SeProbeError(
                f"{settings.run} was recorded from images at {data['location'] or data['title']}; name them again with "
                "--data (a recording does not choose what is opened)."
            )
        changed["demo"] = True
    return replace(settings, **changed), recording


def complete_run(run: str | Path) -> Recording:
    """Open the recording of a run; refuse one that was stopped before its end."""
    recording = open_recording(run)
    if not recording.complete:
        raise SeProbeError(f"{run} was stopped before its end; complete it with excite --resume first.")
    return recording


def recorded_network(recording: Recording) -> str:
    """Return the name of a recording's network; refuse one that a recording must not choose."""
    model = recording.provenance["model"]
    if model["source"] not in NAMED:
        raise SeProbeError(
            f"{recording.path.parent} was recorded from {model['name']}, which is code of your own or from a hub; name "
            "it again with --model (a recording does not choose code to run)."
        )
    return str(model["name"])


def result_folder(settings: JoinSettings, joined: Recording | None, part: str, label: str) -> RunFolder:
    """Choose the folder of a result: `part` in that of the joined run, else one of its own named `label`."""
    if joined is None:
        return folder_of(settings, label)
    return choose_folder(part, joined.path.parent / part, overwrite=settings.overwrite)


def chosen_classes(recording: Recording) -> list[str]:
    """Return the chosen classes of a recording by wnid, or by name if they have none."""
    wnids = recording.classes.set_index("name")["wnid"]
    return [str(wnids[name]) if isinstance(wnids.get(name), str) else name for name in recording.chosen]


def with_classes(settings: R, recording: Recording) -> R:
    """Return settings with the chosen classes of a recording and its number of reference images."""
    others = recording.provenance["data"]["reference_per_class"]
    return replace(settings, classes=chosen_classes(recording), reference_per_class=others)


def require_same_sites(recording: Recording, name: str, sites: Sequence[GateSite]) -> None:
    """Raise SeProbeError unless a network has the sites of a recording, whatever its weights."""
    found = {site.name: (site.channels, site.branches) for site in sites}
    for site in recording.sites:
        if found.get(site.name) != (site.channels, site.branches):
            raise SeProbeError(
                f"{recording.path} holds gates of {recording.provenance['model']['name']} at {site.name} with "
                f"{site.branches} × {site.channels} channels, and {name} has no such site; give the recorded network "
                "(--model-arg), or a recording of this one."
            )


def require_same(recording: Recording, model: LoadedModel, selection: Selection | None = None) -> None:
    """Raise SeProbeError unless a network, and a selection of images if given, are those of a recording."""
    facts = recording.provenance
    recorded, given = facts["model"]["weights_sha256"], model.weights_sha256
    if recorded != given:
        raise SeProbeError(
            f"{recording.path} holds gates of {facts['model']['name']} with weights {recorded[:12]}, and the network "
            f"is {model.name} with weights {given[:12]}; give the recorded network (--model, --checkpoint, "
            "--model-arg, --random-weights), or a recording of this one."
        )
    if selection is not None and selection_digest(selection) != facts["data"]["selection_sha256"]:
        raise SeProbeError(
            f"the images that are selected now are not those of {recording.path}; give the recorded data with --data."
        )
