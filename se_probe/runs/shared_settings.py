"""Options that several verbs share, each declared once, in the parts of which the settings of verbs are composed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from se_probe.runs.options import OnResume, Panel, Settings, names, number_or_word, option

if TYPE_CHECKING:
    import torch

    from se_probe.models import LoadedModel
    from se_probe.recording import Execution

LARGEST_SEED = 2**32 - 1
MOST_IMAGES = 10_000_000
LARGEST_BATCH = 100_000


def _model_args(pairs: Sequence[str]) -> dict[str, object]:
    from se_probe.models import parse_model_args  # it brings torch, for which help does not wait

    return parse_model_args(pairs)


class ArchitectureSettings(Settings, on_resume=OnResume.INPUT):
    """The network, where weights do not matter."""

    model_args: Mapping[str, object] | None = option(
        default=None,
        help="Argument of the network's builder; may be given several times.",
        read=_model_args,
        flag="--model-arg",
        metavar="KEY=VALUE",
    )
    input_size: int | Sequence[int] | None = option(
        default=None,
        help="Side of the square input in pixels. Default: from the network's configuration.",
        least=1,
        most=65_536,
    )


class NetworkSettings(Settings, on_resume=OnResume.INPUT):
    """The network and its weights."""

    model: str | torch.nn.Module | LoadedModel | None = option(
        default=None,
        help="A timm name, torchvision:NAME, hf-hub:ORG/NAME, path/to/file.py:function or demo:se|sk|sa. Default: "
        "legacy_seresnet50, the weights nearest the paper (demo:se with --demo).",
        metavar="NAME",
    )
    checkpoint: str | Path | None = option(
        default=None,
        help="Weights from a file: safetensors or a PyTorch state dict (nothing is unpickled).",
        metavar="FILE",
    )
    random_weights: bool = option(default=False, help="Untrained weights, drawn from --seed, to try things out.")


class DataSettings(Settings, panel=Panel.IMAGES, on_resume=OnResume.INPUT):
    """The images, and how many of them."""

    data: str | Path | None = option(
        default=None,
        help="Labelled images: a folder in any common layout, a .tar, imagenetv2 or tiny-imagenet (see se-probe data), "
        "or hfds/NAME, wds/PLACE ... as timm reads them.",
        metavar="DIR",
        envvar="SE_PROBE_DATA",
    )
    demo: bool = option(
        default=False, help="Use the bundled drawings, and a bundled network unless --model names another."
    )
    per_class: int = option(default=50, help="Images of each chosen class, at the most.", least=1, most=MOST_IMAGES)
    seed: int = option(
        default=0,
        help="Decides which images are taken where there are more, and which channels are shown.",
        least=0,
        most=LARGEST_SEED,
    )


class ReferenceSettings(DataSettings, on_resume=OnResume.INPUT):
    """The images of chosen classes and of all others."""

    classes: str | Sequence[str] | None = option(
        default=None,
        help="Classes to compare: indices, wnids or exact names, separated by commas. Default: "
        "goldfish,pug,plane,cliff; without them, the first four classes of the data.",
        metavar="NAMES",
        kw_only=False,
    )
    reference_per_class: int | None = option(
        default=None,
        help="Images of every other class, for the curve of all classes; 0 for none. Default: as --per-class.",
        least=0,
        most=MOST_IMAGES,
        panel=Panel.IMAGES,
    )

    @property
    def counts(self) -> tuple[int, int, int]:
        """Images of each chosen class and of each other class, and the seed that chooses them."""
        others = self.per_class if self.reference_per_class is None else self.reference_per_class
        return self.per_class, others, self.seed


class MachineSettings(Settings, panel=Panel.SPEED, on_resume=OnResume.FREE):
    """Where the network runs, and what feeds it."""

    workers: int | None = option(
        default=None, help="Processes that decode images. Default: up to four.", least=0, most=1024
    )
    device: str | None = option(
        default=None, help="torch device. Default: an accelerator where there is one, else cpu.", metavar="NAME"
    )


class BatchSettings(Settings, panel=Panel.SPEED, on_resume=OnResume.FREE):
    """How many images go through the network at once."""

    batch_size: int = option(default=32, help="Images in one forward pass.", least=1, most=LARGEST_BATCH)


class MetricSettings(Settings):
    """A measure of one's own."""

    metric: str | Callable[..., Any] | None = option(
        default=None,
        help="A measure of your own in the place of accuracy, path/to/file.py:function: from the network's output and "
        "the images to a number for each image (docs/tasks.md). Images then need no classes.",
        metavar="FILE:FUNCTION",
    )


class FastSettings(Settings, panel=Panel.SPEED, on_resume=OnResume.FREE):
    """How many images go through the network at once, and whether through a faster copy of it."""

    batch_size: int | Literal["auto"] = option(
        default=32,
        help='Images in one forward pass, or "auto" for the fastest by a short measurement.',
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
        on_resume=OnResume.IDENTITY,
    )


class ExecutionSettings(FastSettings, panel=Panel.SPEED):
    """How the network is run while it is recorded."""

    compile: bool = option(default=False, help="Compile the network (gates within 1e-5), which pays on long runs.")
    dtype: str | None = option(
        default=None,
        help="float32 or bfloat16; how far gates move is measured and kept. Default: the network's own.",
        choices=("float32", "bfloat16"),
        metavar="NAME",
    )
    predictions: bool = option(
        default=True, help="Keep what the network predicts; without, a pass ends after the last recorded site."
    )
    device_decode: bool = option(
        default=False,
        help="Decode JPEGs where the network runs (nvJPEG on CUDA); how far gates move is measured and kept.",
    )

    @property
    def execution(self) -> Execution:
        """How the network is run."""
        from se_probe.recording import Execution  # it brings torch

        return Execution(self.exact, self.compile, self.dtype, self.predictions, self.device_decode)


class FigureSettings(Settings, panel=Panel.FIGURES, on_resume=OnResume.SHOWN):
    """What the figures of a recording show."""

    sites: Sequence[str] | None = option(
        default=None,
        help="Sites in the figures. Default: the last of each stage and all of the last stage.",
        metavar="NAMES",
        read=names,
    )
    channels: int | Literal["all"] | None = option(
        default=None,
        help='Number of channels in the figures, sampled uniformly, or "all". Default: 50.',
        least=1,
        most=1_000_000,
        word="all",
        metavar="N|all",
        read=number_or_word,
    )
    within: str | Sequence[str] | None = option(
        default=None,
        help="Classes of the within-class figure. Default: goldfish,plane where chosen, else the first two.",
        metavar="NAMES",
    )


class DrawSettings(FigureSettings, panel=Panel.FIGURES, on_resume=OnResume.SHOWN):
    """What is drawn of a recording that is there already."""

    classes: str | Sequence[str] | None = option(
        default=None, help="Classes to draw. Default: the chosen ones.", metavar="NAMES"
    )
    seed: int = option(default=0, help="Decides which channels are shown.", least=0, most=LARGEST_SEED)


class FolderSettings(Settings, panel=Panel.WHERE, on_resume=OnResume.PLACE):
    """Where results go, and what is shown meanwhile."""

    out: str | Path | None = option(default=None, help="The run's folder, instead of reports/<name>.", metavar="DIR")
    overwrite: bool = option(default=False, help="Replace an earlier run in that folder.")
    progress: bool = option(default=True, help="Show a bar with the time left.", on_resume=OnResume.SHOWN)
    command: str | None = option(
        default=None, help="How the run was started, for its provenance. Default: this call.", on_command_line=False
    )


class NameSettings(Settings, panel=Panel.WHERE, on_resume=OnResume.PLACE):
    """The name of a run's folder below `reports/`."""

    name: str | None = option(
        default=None,
        help="Name of the run's folder under reports/; numbered where it is taken. Default: the network's name.",
        metavar="NAME",
    )


class ReportSettings(Settings, panel=Panel.FIGURES, on_resume=OnResume.SHOWN):
    """Whether there is a report."""

    report: bool = option(default=True, help="Measure the gates, judge the papers' claims and write report.html.")
    factors: str | Path | None = option(
        default=None,
        help="CSV file of known factors of the images (column path, and a column a factor): what each explains of the "
        "gates' variance within classes. The demo's are known.",
        metavar="FILE",
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
