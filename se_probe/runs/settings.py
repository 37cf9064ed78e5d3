"""The options of every verb: a settings class each, composed of the parts that verbs share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from se_probe.runs.options import OnResume, Panel, names, numbers, option
from se_probe.runs.shared_settings import (
    LARGEST_BATCH,
    LARGEST_NUMBER,
    MOST_IMAGES,
    ArchitectureSettings,
    BatchSettings,
    DeviceSettings,
    DrawSettings,
    ExecutionSettings,
    FastSettings,
    FigureSettings,
    FolderSettings,
    MachineSettings,
    MetricSettings,
    NetworkSettings,
    ReferenceSettings,
    ReportSettings,
    RunSettings,
    data_option,
    out_option,
    preset_option,
    progress_option,
    seed_option,
    sites_option,
)

if TYPE_CHECKING:
    import torch

    from se_probe.models import LoadedModel

# How the scale experiment enlarges objects.
SCALE_METHODS = {"crop": "enlarged by central crop and resize", "object": "objects drawn larger"}


def _signals(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return the signals to record beside the gates, which are always recorded."""
    return tuple(name for name in (names(given) if given else ()) if name != "gate")


class JoinSettings(RunSettings, on_resume=OnResume.INPUT):
    """The options of verbs that can join an earlier run."""

    run: str | Path | None = option(
        default=None,
        help="A run of excite to join: its network, classes and images are used, and its report shows the results. "
        "Name code (--model) and folders of images (--data) again.",
        metavar="RUN",
    )


class ExciteSettings(ReportSettings, FigureSettings, ExecutionSettings, ReferenceSettings):
    """Record gates over images of some classes and draw the paper's "Role of Excitation"."""

    checkpoints: str | Sequence[str] | None = option(
        default=None,
        help="Checkpoints of the network, as a pattern such as 'run/epoch-*.pt': the same images through each, in the "
        "order of the numbers in their names, and one comparison over steps.",
        metavar="PATTERN",
        on_resume=OnResume.INPUT,
    )
    sweep: str | None = option(
        default=None,
        help="Values of one argument of the network's builder: the same images through the network of each, likewise.",
        metavar="KEY=VALUE,VALUE",
        on_resume=OnResume.INPUT,
    )
    preset: str | None = preset_option(
        None,
        "A paper's network, classes, sites and channels: senet, sknet or eca (sknet and eca partly from memory of the "
        "papers; the run says what is unconfirmed). Explicit options win.",
        on_resume=OnResume.FREE,
    )
    capture: Sequence[str] = option(
        default=(),
        help="What to record beside the gates, separated by commas: logit, squeeze, feature (the feature map's spatial "
        "mean before and after the gate), effect (what each channel's gate does to the answer).",
        read=_signals,
    )
    effect_of: str = option(
        default="label",
        help="The outcome whose change --capture effect records: label (logit of the image's class), predicted (logit "
        "of the predicted class), log-probability (of the image's class).",
        choices=("label", "predicted", "log-probability"),
    )
    null: bool = option(
        default=False,
        help="Also record the architecture with fresh weights on the same images: what the architecture and the images "
        "alone give.",
        on_resume=OnResume.FREE,
    )
    record_sites: Sequence[str] | None = sites_option("Sites to record. Default: all.", on_resume=OnResume.INPUT)
    out: str | Path | None = out_option(
        "The run's folder, instead of reports/<name>; or an s3://, gs:// ... URL to which it is copied at the end.",
        metavar="DIR|URL",
    )
    resume: bool = option(
        default=False,
        help="Continue a stopped run, at --out or the last of its --name, with the same settings (--batch-size, "
        "--workers and --device may differ); starts one if there is none.",
        panel=Panel.WHERE,
        on_resume=OnResume.PLACE,
    )


class ScaleSettings(FastSettings, ReferenceSettings, JoinSettings):
    """Record the same images at several scales and test whether attention moves to the larger kernel (SKNet)."""

    demo_model: ClassVar[str] = "demo:sk"

    model: str | torch.nn.Module | LoadedModel | None = option(
        default=None,
        help="As in excite. Default: skresnext50_32x4d, timm's network nearest SKNet-50 (demo:sk with --demo).",
        on_resume=OnResume.INPUT,
    )
    preset: str = preset_option("sknet", "A paper whose network, classes and scales are the defaults.")
    scales: Sequence[float] | None = option(
        default=None,
        help="Two or more enlargements, separated by commas; the others are compared with the smallest. Default: "
        "1.0,1.5,2.0, as in the SKNet paper.",
        read=numbers,
        above=0,
        most=100,
    )
    by: str = option(
        default="crop",
        help="crop: the central part, resized to the image's size (the paper's way as far as known: unconfirmed), "
        "which blurs images no larger than the network's input; object: draw the object larger, with --demo.",
        choices=tuple(SCALE_METHODS),
    )


class ChangeSettings(FastSettings, ReferenceSettings):
    """Record the same images plain and changed, and test which changes move the gates, and how far."""

    change: Sequence[str] = option(
        default=("noise:1,3,5", "blur:1,3,5", "contrast:1,3,5", "crop:1.5,2"),
        help="A change at some strengths; may be given several times. brightness, contrast, blur, noise, jpeg: "
        "severities 1 to 5 of ImageNet-C; crop: enlargements; grey: share of colour removed; rotate: degrees; "
        "occlude: share hidden; or path/to/file.py:function, called with image, strength, rng. Default: noise, blur "
        "and contrast at 1,3,5, crop at 1.5,2.",
        metavar="NAME:NUMBERS",
    )


class AblateSettings(ReportSettings, BatchSettings, MetricSettings, ReferenceSettings, JoinSettings):
    """Replace gates while the network runs and measure what that costs, on the same images."""

    replacement: str = option(
        default="identity",
        help="What replaces gates: identity (1, or 1/M for M branches), mean (the site's mean gate), class-mean, "
        "shuffle (another image's gates), swap:A,B (the other class's), scale:FACTOR, branch:NUMBER, quantize:BITS, "
        "quantize-logits:BITS, tile:SIDE (squeeze over tiles of SIDE × SIDE positions).",
        flag="--with",
        metavar="REPLACEMENT",
    )
    sites: Sequence[str] | None = sites_option(
        "each, cumulative (from the last site backwards), stages; or names of sites, replaced together. Default: "
        "each,cumulative,stages."
    )
    gates_from: str | Path | None = option(
        default=None,
        help="A run of the same network whose recording gives the means. Default: this run's own recording.",
        metavar="RUN",
    )


class FoldSettings(BatchSettings, MetricSettings, JoinSettings):
    """Replace gates that hardly move by constants, fold these into neighbouring layers, and save the network."""

    max_loss: float | None = option(
        default=None,
        help="Allowed loss of top-1 accuracy in percentage points (of agreement with the network, without labels), or "
        "of your own metric in its unit. Default: 0.5 points (2 with the demo's 500 drawings; fewer show less).",
        above=0,
        metavar="NUMBER",
    )
    sites: Sequence[str] | None = sites_option(
        "Fold these sites without a search; the loss is measured, but does not stop it."
    )
    export: str | None = option(
        default=None,
        help="Also write the folded network in another format: onnx (needs se-probe[onnx]), checked and timed in "
        "onnxruntime.",
        choices=("onnx",),
        metavar="FORMAT",
    )
    classes: str | Sequence[str] | None = option(
        default=None, help="Classes whose images are used. Default: all of the data.", on_resume=OnResume.INPUT
    )


class MapsSettings(BatchSettings, MachineSettings, ArchitectureSettings, NetworkSettings):
    """Show where gates look: maps of their logits over images of a run, tested by masking pixels."""

    run: str | Path = option(
        help="A run of excite: its network, images and recorded gates. Name code (--model) and folders of images "
        "(--data) again.",
        kw_only=False,
        metavar="RUN",
    )
    data: str | Path | None = data_option("The run's images.", panel=Panel.IMAGES)
    sites: Sequence[str] | None = sites_option(
        "Sites. Default: the last of each stage and all of the last stage that have maps."
    )
    channels: Sequence[int] | None = option(
        default=None,
        help="Channels in the figures, separated by commas. Default: the three whose gates differ most between images.",
        read=numbers,
        least=0,
        most=LARGEST_NUMBER,
    )
    images: int = option(
        default=60,
        help="Images of the chosen classes that are masked to test the maps in pixels.",
        least=2,
        most=MOST_IMAGES,
        panel=Panel.IMAGES,
    )
    seed: int = seed_option("Decides which images and channels are tested, and the random areas.", panel=Panel.IMAGES)
    report: bool = option(default=True, help="Write report.html again.", panel=Panel.FIGURES)
    progress: bool = progress_option("Show a bar with the time left.")


class PlotSettings(DrawSettings):
    """Draw the figures of a run again, without the network; of a scale experiment with its own choices."""

    run: str | Path = option(help="A run's folder, or its recording.zarr.", kw_only=False, metavar="RUN")
    out: str | Path | None = out_option("Folder in which figures/ is made. Default: the run's.")


class CompareSettings(FolderSettings):
    """Put networks side by side by relative depth: specificity, saturation and similarity of representation."""

    runs: Sequence[str | Path] = option(
        help="Folders of two or more runs over the same images, or the recording.zarr in them.",
        kw_only=False,
        metavar="RUN",
    )


class LookSettings(FolderSettings, DeviceSettings, ArchitectureSettings, NetworkSettings):
    """Look at images of your own: what the network answers, which gates are unusual, what they do, where they look."""

    images: Sequence[str | Path] = option(
        help="Image files, or drawings of the demo (demo/goldfish/0000).", kw_only=False, metavar="IMAGE"
    )
    against: str | Path | None = option(
        default=None,
        help="A run of the same network: gates are compared with all its classes. Its network is used unless --model "
        "names one.",
        metavar="RUN",
    )
    top: int = option(default=10, help="Gates shown of each image.", least=1, most=1000)
    by: str | None = option(
        default=None,
        help="Which gates are shown: deviation, the most unusual against the run, or effect, those that change the "
        "answer most. Default: deviation with a run, effect without.",
        choices=("deviation", "effect"),
    )
    seed: int = seed_option("Seed of --random-weights and of the permutations for words.")
    out: str | Path | None = out_option(
        "Folder for look.html, with the gates' maps over the images, and tables. Default: nothing is written."
    )

    def network(self, default: str) -> str | torch.nn.Module | LoadedModel:
        """Return the given network, else the default."""
        return default if self.model is None else self.model


class CostSettings(ArchitectureSettings, panel=Panel.SPEED):
    """Count and time what the gates of a network cost: parameters, operations, run time. No weights are downloaded."""

    model: str | torch.nn.Module | LoadedModel | None = option(
        default=None,
        help="A network, named as in excite --model. Default: that of --run.",
        kw_only=False,
        panel=Panel.WHAT,
        flag="",
    )
    run: str | Path | None = option(
        default=None,
        help="A run of excite to join: its network is used, and its report shows the costs. Name code again.",
        metavar="RUN",
        panel=Panel.WHAT,
    )
    data: str | Path | None = data_option("The images of --run, for the thumbnails in its report.", panel=Panel.WHERE)
    reductions: Sequence[int] = option(
        default=(4, 8, 16, 32),
        help="Reduction ratios r to sweep, separated by commas.",
        read=numbers,
        least=1,
        most=LARGEST_NUMBER,
        panel=Panel.WHAT,
    )
    time: bool = option(default=True, help="Measure the share of run time, in pairs, on this machine.")
    time_by: Literal["all", "stage", "site"] = option(
        default="all",
        help="all gates together, or also each stage or each site alone.",
        choices=("all", "stage", "site"),
    )
    rounds: int = option(default=25, help="How often every variant is timed, at least 15.", least=15, most=100_000)
    batch_size: int = option(default=1, help="Images in a batch that is timed.", least=1, most=LARGEST_BATCH)
    device: str | None = option(
        default=None,
        help="torch device of a network given by name; one in memory stays where it is. Default: an accelerator if "
        "there is one, else cpu.",
    )
    out: str | Path | None = out_option(
        "Folder for the figures with their CSV, and cost.json. Default: cost in the folder of --run; else nothing is "
        "written."
    )
    progress: bool = progress_option("Show a bar where timing takes more than 2 s.")
