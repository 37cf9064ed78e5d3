"""The options of every verb, each declared once: a settings class a verb, composed of the parts that verbs share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from se_probe.runs.options import OnResume, Panel, Settings, names, number_or_word, numbers, option
from se_probe.runs.presets import PRESETS

if TYPE_CHECKING:
    import torch

    from se_probe.models import LoadedModel
    from se_probe.recording import Execution

LARGEST_SEED = 2**32 - 1
MOST_IMAGES = 10_000_000
LARGEST_BATCH = 100_000
# How the scale experiment enlarges objects.
SCALE_METHODS = {"crop": "enlarged by central crop and resize", "object": "objects drawn larger"}


def _model_args(pairs: Sequence[str]) -> dict[str, object]:
    from se_probe.models import parse_model_args  # it brings torch, for which help does not wait

    return parse_model_args(pairs)


def _signals(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return what is recorded beside the gates; they themselves always are."""
    return tuple(name for name in (names(given) if given else ()) if name != "gate")


class ArchitectureSettings(Settings):
    """The network, where weights do not matter."""

    model_args: Mapping[str, object] | None = option(
        default=None,
        help="Argument of the network's builder; may be given several times.",
        on_resume=OnResume.INPUT,
        read=_model_args,
        flag="--model-arg",
        metavar="KEY=VALUE",
    )
    input_size: int | Sequence[int] | None = option(
        default=None,
        help="Side of the square input in pixels. Default: from the network's configuration.",
        on_resume=OnResume.INPUT,
        least=1,
        most=65_536,
    )


class NetworkSettings(Settings):
    """The network and its weights."""

    model: str | torch.nn.Module | LoadedModel | None = option(
        default=None,
        help="A timm name, torchvision:NAME, hf-hub:ORG/NAME, path/to/file.py:function or demo:se|sk|sa. Default: "
        "legacy_seresnet50, the weights nearest the paper (demo:se with --demo).",
        on_resume=OnResume.INPUT,
        metavar="NAME",
    )
    checkpoint: str | Path | None = option(
        default=None,
        help="Weights from a file: safetensors or a PyTorch state dict (nothing is unpickled).",
        on_resume=OnResume.INPUT,
        metavar="FILE",
    )
    random_weights: bool = option(
        default=False, help="Untrained weights, drawn from --seed, to try things out.", on_resume=OnResume.INPUT
    )


class DataSettings(Settings):
    """The images, and how many of them."""

    data: str | Path | None = option(
        default=None,
        help="Labelled images: a folder in any common layout, a .tar, imagenetv2 or tiny-imagenet (see se-probe data), "
        "or hfds/NAME, wds/PLACE ... as timm reads them.",
        panel=Panel.IMAGES,
        on_resume=OnResume.INPUT,
        metavar="DIR",
        envvar="SE_PROBE_DATA",
    )
    demo: bool = option(
        default=False,
        help="Use the bundled drawings, and a bundled network unless --model names another.",
        panel=Panel.IMAGES,
        on_resume=OnResume.INPUT,
    )
    per_class: int = option(
        default=50,
        help="Images of each chosen class, at the most.",
        panel=Panel.IMAGES,
        on_resume=OnResume.INPUT,
        least=1,
        most=MOST_IMAGES,
    )
    seed: int = option(
        default=0,
        help="Decides which images are taken where there are more, and which channels are shown.",
        panel=Panel.IMAGES,
        on_resume=OnResume.INPUT,
        least=0,
        most=LARGEST_SEED,
    )


class ReferenceSettings(DataSettings):
    """The images of chosen classes and of all others."""

    classes: str | Sequence[str] | None = option(
        default=None,
        help="Classes to compare: indices, wnids or exact names, separated by commas. Default: "
        "goldfish,pug,plane,cliff; without them, the first four classes of the data.",
        on_resume=OnResume.INPUT,
        metavar="NAMES",
        kw_only=False,
    )
    reference_per_class: int | None = option(
        default=None,
        help="Images of every other class, for the curve of all classes; 0 for none. Default: as --per-class.",
        panel=Panel.IMAGES,
        on_resume=OnResume.INPUT,
        least=0,
        most=MOST_IMAGES,
    )

    @property
    def counts(self) -> tuple[int, int, int]:
        """Images of each chosen class and of each other class, and the seed that chooses them."""
        others = self.per_class if self.reference_per_class is None else self.reference_per_class
        return self.per_class, others, self.seed


class MachineSettings(Settings):
    """Where the network runs, and what feeds it."""

    workers: int | None = option(
        default=None,
        help="Processes that decode images. Default: up to four.",
        panel=Panel.SPEED,
        on_resume=OnResume.FREE,
        least=0,
        most=1024,
    )
    device: str | None = option(
        default=None,
        help="torch device. Default: an accelerator where there is one, else cpu.",
        panel=Panel.SPEED,
        on_resume=OnResume.FREE,
        metavar="NAME",
    )


class BatchSettings(Settings):
    """How many images go through the network at once."""

    batch_size: int = option(
        default=32,
        help="Images in one forward pass.",
        panel=Panel.SPEED,
        on_resume=OnResume.FREE,
        least=1,
        most=LARGEST_BATCH,
    )


class FastSettings(Settings):
    """How many images go through the network at once, and whether through a faster copy of it."""

    batch_size: int | Literal["auto"] = option(
        default=32,
        help='Images in one forward pass, or "auto" for the fastest by a short measurement.',
        panel=Panel.SPEED,
        on_resume=OnResume.FREE,
        least=1,
        most=LARGEST_BATCH,
        word="auto",
        metavar="N|auto",
        read=number_or_word,
    )
    exact: bool = option(
        default=False,
        help="Run the network as it is: gates equal those of your own eager hooks bit for bit. Without it a copy with "
        "channels last and folded batch norms runs, whose gates are within 1e-5.",
        panel=Panel.SPEED,
    )


class ExecutionSettings(FastSettings):
    """How the network is run while it is recorded."""

    compile: bool = option(
        default=False,
        help="Compile the network (gates within 1e-5), which pays on long runs.",
        panel=Panel.SPEED,
    )
    dtype: str | None = option(
        default=None,
        help="float32 or bfloat16; how far gates move is measured and kept. Default: the network's own.",
        panel=Panel.SPEED,
        choices=("float32", "bfloat16"),
        metavar="NAME",
    )
    predictions: bool = option(
        default=True,
        help="Keep what the network predicts; without, a pass ends after the last recorded site.",
        panel=Panel.SPEED,
    )
    device_decode: bool = option(
        default=False,
        help="Decode JPEGs where the network runs (nvJPEG on CUDA); how far gates move is measured and kept.",
        panel=Panel.SPEED,
    )

    @property
    def execution(self) -> Execution:
        """How the network is run."""
        from se_probe.recording import Execution  # it brings torch

        return Execution(self.exact, self.compile, self.dtype, self.predictions, self.device_decode)


class FigureSettings(Settings):
    """What the figures of a recording show."""

    sites: Sequence[str] | None = option(
        default=None,
        help="Sites in the figures. Default: the last of each stage and all of the last stage.",
        panel=Panel.FIGURES,
        on_resume=OnResume.SHOWN,
        metavar="NAMES",
        read=names,
    )
    channels: int | Literal["all"] | None = option(
        default=None,
        help='Number of channels in the figures, sampled uniformly, or "all". Default: 50.',
        panel=Panel.FIGURES,
        on_resume=OnResume.SHOWN,
        least=1,
        most=1_000_000,
        word="all",
        metavar="N|all",
        read=number_or_word,
    )
    within: str | Sequence[str] | None = option(
        default=None,
        help="Classes of the within-class figure. Default: goldfish,plane where chosen, else the first two.",
        panel=Panel.FIGURES,
        on_resume=OnResume.SHOWN,
        metavar="NAMES",
    )


class DrawSettings(FigureSettings):
    """What is drawn of a recording that is there already."""

    classes: str | Sequence[str] | None = option(
        default=None,
        help="Classes to draw. Default: the chosen ones.",
        panel=Panel.FIGURES,
        on_resume=OnResume.SHOWN,
        metavar="NAMES",
    )
    seed: int = option(
        default=0,
        help="Decides which channels are shown.",
        panel=Panel.FIGURES,
        on_resume=OnResume.SHOWN,
        least=0,
        most=LARGEST_SEED,
    )


class PlotSettings(DrawSettings):
    """Draw the figures of a run again, without the network; of a scale experiment with its own choices."""

    run: str | Path = option(help="A run's folder, or its recording.zarr.", kw_only=False, metavar="RUN")
    out: str | Path | None = option(
        default=None,
        help="Folder in which figures/ is made. Default: the run's.",
        panel=Panel.WHERE,
        on_resume=OnResume.PLACE,
        metavar="DIR",
    )


class FolderSettings(Settings):
    """Where results go, and what is shown meanwhile."""

    out: str | Path | None = option(
        default=None,
        help="The run's folder, in the place of reports/<name>.",
        panel=Panel.WHERE,
        on_resume=OnResume.PLACE,
        metavar="DIR",
    )
    overwrite: bool = option(
        default=False, help="Replace an earlier run in that folder.", panel=Panel.WHERE, on_resume=OnResume.PLACE
    )
    progress: bool = option(
        default=True, help="Show a bar with the time left.", panel=Panel.WHERE, on_resume=OnResume.SHOWN
    )
    command: str | None = option(
        default=None,
        help="How the run was started, for its provenance. Default: this call.",
        panel=Panel.WHERE,
        on_resume=OnResume.PLACE,
        on_command_line=False,
    )


class NameSettings(Settings):
    """The name of a run's folder below `reports/`."""

    name: str | None = option(
        default=None,
        help="Name of the run's folder under reports/; numbered where it is taken. Default: the network's name.",
        panel=Panel.WHERE,
        on_resume=OnResume.PLACE,
        metavar="NAME",
    )


class ReportSettings(Settings):
    """Whether there is a report."""

    report: bool = option(
        default=True,
        help="Measure the gates, judge the papers' claims and write report.html.",
        panel=Panel.FIGURES,
        on_resume=OnResume.SHOWN,
    )


class RunSettings(FolderSettings, NameSettings, MachineSettings, DataSettings, ArchitectureSettings, NetworkSettings):
    """What every verb that records asks for."""

    demo_model: ClassVar[str] = "demo:se"

    @property
    def uses_demo(self) -> bool:
        """Whether the bundled drawings are recorded: asked for, or because only a network of the demo was named."""
        named = isinstance(self.model, str) and self.model.startswith("demo:")
        return self.demo or (named and self.data is None)

    def network(self, default: str) -> str | torch.nn.Module | LoadedModel:
        """Return the network that was asked for, else the demo's or the default."""
        if self.model is None:
            return self.demo_model if self.uses_demo else default
        return self.model


class JoinSettings(RunSettings):
    """What a verb asks for that may join a run recorded before."""

    run: str | Path | None = option(
        default=None,
        help="A run of excite to join: its network, classes and images are taken, nothing of it is recorded again, and "
        "its report shows the results. Code (--model) and folders of images (--data) are named again.",
        on_resume=OnResume.INPUT,
        metavar="RUN",
    )


class ExciteSettings(ReportSettings, FigureSettings, ExecutionSettings, ReferenceSettings, RunSettings):
    """Record gates over images of some classes and draw the paper's "Role of Excitation"."""

    preset: str | None = option(
        default=None,
        help="A paper's network, classes, sites and channels: senet, sknet or eca (sknet and eca in part from memory "
        "of the papers; the run says what is unconfirmed). What is given explicitly wins.",
        on_resume=OnResume.FREE,
        choices=tuple(PRESETS),
        metavar="NAME",
    )
    capture: Sequence[str] = option(
        default=(),
        help="What to record beside the gates: logit, squeeze, feature (the feature map's spatial mean before and "
        "after the gate), separated by commas.",
        metavar="NAMES",
        read=_signals,
    )
    null: bool = option(
        default=False,
        help="Record the same architecture with fresh weights on the same images, too: what the architecture and the "
        "images alone give.",
        on_resume=OnResume.FREE,
    )
    record_sites: Sequence[str] | None = option(
        default=None,
        help="Sites to record. Default: all.",
        on_resume=OnResume.INPUT,
        metavar="NAMES",
        read=names,
    )
    out: str | Path | None = option(
        default=None,
        help="The run's folder, in the place of reports/<name>; or an s3://, gs:// ... URL to which it is copied at "
        "the end.",
        panel=Panel.WHERE,
        on_resume=OnResume.PLACE,
        metavar="DIR|URL",
    )
    resume: bool = option(
        default=False,
        help="Continue a run that was stopped, at --out or the last of its --name, with the same settings "
        "(--batch-size, --workers and --device may differ); starts one where there is none.",
        panel=Panel.WHERE,
        on_resume=OnResume.PLACE,
    )


class ScaleSettings(FastSettings, ReferenceSettings, RunSettings):
    """Record the same images at several scales and test whether attention moves to the larger kernel (SKNet)."""

    demo_model: ClassVar[str] = "demo:sk"

    model: str | torch.nn.Module | LoadedModel | None = option(
        default=None,
        help="As in excite. Default: skresnext50_32x4d, timm's network nearest SKNet-50 (demo:sk with --demo).",
        on_resume=OnResume.INPUT,
        metavar="NAME",
    )
    preset: str = option(
        default="sknet",
        help="The paper whose network, classes and scales are taken where none are given.",
        choices=tuple(PRESETS),
        metavar="NAME",
    )
    scales: Sequence[float] | None = option(
        default=None,
        help="Two or more enlargements, separated by commas; the smallest is what the others are compared with. "
        "Default: 1.0,1.5,2.0, as in the SKNet paper.",
        metavar="NUMBERS",
        read=numbers,
        above=0,
        most=100,
    )
    by: str = option(
        default="crop",
        help="crop: the central part, resized to the image's size (the paper's way as far as is known: unconfirmed), "
        "which blurs images no larger than the network's input; object: draw the object larger, with --demo.",
        choices=tuple(SCALE_METHODS),
        metavar="NAME",
    )


class AblateSettings(ReportSettings, BatchSettings, ReferenceSettings, JoinSettings):
    """Replace gates while the network runs and measure what that costs in accuracy, on the same images."""

    replacement: str = option(
        default="identity",
        help="What stands in the place of gates: identity (1, or 1/M for M branches), mean (the site's mean gate), "
        "class-mean, shuffle (another image's gates), swap:A,B (the other class's), scale:FACTOR, branch:NUMBER.",
        flag="--with",
        metavar="REPLACEMENT",
    )
    sites: Sequence[str] | None = option(
        default=None,
        help="each, cumulative (from the last site backwards), stages; or names of sites, changed at once. Default: "
        "each,cumulative,stages.",
        metavar="NAMES",
        read=names,
    )
    gates_from: str | Path | None = option(
        default=None,
        help="A run of the same network whose recording gives the means. Default: this run's own recording.",
        metavar="RUN",
    )


class FoldSettings(BatchSettings, JoinSettings):
    """Replace gates that hardly move by constants, fold these into neighbouring layers, and save the network."""

    max_loss: float | None = option(
        default=None,
        help="Allowed loss of top-1 accuracy in percentage points (of agreement with the network, without labels). "
        "Default: 0.5 (2 with the demo's 500 drawings, which cannot show less).",
        above=0,
        most=100,
        metavar="POINTS",
    )
    sites: Sequence[str] | None = option(
        default=None,
        help="Fold these sites, and search for none; the loss is measured, and does not stop it.",
        metavar="NAMES",
        read=names,
    )
    classes: str | Sequence[str] | None = option(
        default=None,
        help="Classes whose images are taken. Default: all of the data.",
        on_resume=OnResume.INPUT,
        metavar="NAMES",
    )


class CompareSettings(FolderSettings):
    """Put networks side by side by relative depth: specificity, saturation and similarity of representation."""

    runs: Sequence[str | Path] = option(
        help="Folders of two or more runs over the same images, or the recording.zarr in them.",
        kw_only=False,
        metavar="RUN",
    )


class CostSettings(ArchitectureSettings):
    """Say what the gates of a network cost: parameters, operations, run time. No weights are downloaded."""

    model: str | torch.nn.Module | LoadedModel = option(
        help="A network, named as in excite --model.", kw_only=False, metavar="NAME"
    )
    reductions: Sequence[int] = option(
        default=(4, 8, 16, 32),
        help="Reduction ratios r to sweep, separated by commas.",
        read=numbers,
        least=1,
        most=1_000_000,
        metavar="NUMBERS",
    )
    time: bool = option(
        default=True, help="Measure the share of run time, in pairs, on this machine.", panel=Panel.SPEED
    )
    time_by: Literal["all", "stage", "site"] = option(
        default="all",
        help="all gates together, or beside them each stage or each site alone.",
        panel=Panel.SPEED,
        choices=("all", "stage", "site"),
        metavar="NAME",
    )
    rounds: int = option(
        default=25, help="How often every variant is timed, at least 15.", panel=Panel.SPEED, least=15, most=100_000
    )
    batch_size: int = option(
        default=1, help="Images in a batch that is timed.", panel=Panel.SPEED, least=1, most=LARGEST_BATCH
    )
    device: str | None = option(
        default=None,
        help="torch device of a network given by name; one in memory stays where it is. Default: an accelerator where "
        "there is one, else cpu.",
        panel=Panel.SPEED,
        metavar="NAME",
    )
    out: str | Path | None = option(
        default=None,
        help="Folder for the figures with their CSV, and cost.json. Default: nothing is written.",
        panel=Panel.WHERE,
        metavar="DIR",
    )
    progress: bool = option(default=True, help="Show a bar where timing takes more than 2 s.", panel=Panel.WHERE)
