"""Join a run that was recorded before: `--run` takes its network, classes and images.

The result is written into the run's folder, where the report finds it (`report.write.SECTIONS`).
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

# Sources of networks that a name alone may load: a recording may come from others and must not choose code to run.
NAMED = ("timm", "torchvision", "demo", "photo")

S = TypeVar("S", bound=JoinSettings)
R = TypeVar("R", AblateSettings, ScaleSettings)


def join(settings: S) -> tuple[S, Recording | None]:
    """Return settings completed by the run that they name, and its recording; as they are where they name none.

    Nothing that the recording names is opened or run: code, checkpoints and folders of images must be given again.

    Raises:
        SeProbeError: the run is incomplete, or lacks what must be given again.
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
    """Return the recording of a run.

    Raises:
        SeProbeError: there is none, or it was stopped before its end.
    """
    recording = open_recording(run)
    if not recording.complete:
        raise SeProbeError(f"{run} was stopped before its end; complete it with excite --resume first.")
    return recording


def recorded_network(recording: Recording) -> str:
    """Return the name of a recording's network.

    Raises:
        SeProbeError: it is not one that a name alone may load.
    """
    model = recording.provenance["model"]
    if model["source"] not in NAMED:
        raise SeProbeError(
            f"{recording.path.parent} was recorded from {model['name']}, which is code of your own or from a hub; name "
            "it again with --model (a recording does not choose code to run)."
        )
    return str(model["name"])


def result_folder(settings: JoinSettings, joined: Recording | None, part: str, label: str) -> RunFolder:
    """Return the folder of a result: `part` in that of a joined run, else a folder of its own.

    Args:
        settings: say where results go, and whether an earlier one is replaced.
        joined: the recording of the run that is joined, if any.
        part: name of the result in that run's folder.
        label: what a folder of its own is named after.

    Raises:
        SeProbeError: it holds an earlier result that is not to be replaced.
    """
    if joined is None:
        return folder_of(settings, label)
    return choose_folder(part, joined.path.parent / part, overwrite=settings.overwrite)


def chosen_classes(recording: Recording) -> list[str]:
    """Return the chosen classes of a recording as `--classes` takes them: wnids where they have some, else names."""
    wnids = recording.classes.set_index("name")["wnid"]
    return [str(wnids[name]) if isinstance(wnids.get(name), str) else name for name in recording.chosen]


def with_classes(settings: R, recording: Recording) -> R:
    """Return settings that choose the classes of a recording, and as many images of the others."""
    others = recording.provenance["data"]["reference_per_class"]
    return replace(settings, classes=chosen_classes(recording), reference_per_class=others)


def require_same_sites(recording: Recording, name: str, sites: Sequence[GateSite]) -> None:
    """Raise SeProbeError unless a network, whose weights do not matter, has the gates of a recording."""
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
