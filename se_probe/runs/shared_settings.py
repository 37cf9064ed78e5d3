"""Options that several verbs share, each declared once, in parts that the settings of verbs inherit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from se_probe.runs.options import OnResume, Panel, Settings, names, number_or_word, option
from se_probe.runs.presets import PRESETS

if TYPE_CHECKING:
    import torch

    from se_probe.models import LoadedModel
    from se_probe.recording import Execution

MOST_IMAGES = 10_000_000
LARGEST_BATCH = 100_000
LARGEST_NUMBER = 1_000_000


def data_option(help: str, **declared: Any) -> Any:
    """Declare the option `data`."""
    return option(default=None, help=help, metavar="DIR", envvar="SE_PROBE_DATA", **declared)


def out_option(help: str, **declared: Any) -> Any:
    """Declare the option `out`."""
    place: dict[str, Any] = {"metavar": "DIR", "panel": Panel.WHERE, "on_resume": OnResume.PLACE}
    return option(default=None, help=help, **place | declared)


def preset_option(default: str | None, help: str, **declared: Any) -> Any:
    """Declare the option `preset`."""
    return option(default=default, help=help, choices=tuple(PRESETS), **declared)


def progress_option(help: str) -> Any:
    """Declare the option `progress`."""
    return option(default=True, help=help, panel=Panel.WHERE, on_resume=OnResume.SHOWN)


def seed_option(help: str, **declared: Any) -> Any:
    """Declare the option `seed`."""
    return option(default=0, help=help, least=0, most=2**32 - 1, **declared)


def sites_option(help: str, **declared: Any) -> Any:
    """Declare an option that takes names of sites."""
    return option(default=None, help=help, read=names, **declared)


def _model_args(pairs: Sequence[str]) -> dict[str, object]:
    from se_probe.models import parse_model_args  # imports torch, which the help must not wait for

    return parse_model_args(pairs)


class ArchitectureSettings(Settings, on_resume=OnResume.INPUT):
    """The architecture of the network."""

    model_args: Mapping[str, object] | None = option(
        default=None,
        help="Argument of the network's builder; may be given several times.",
        read=_model_args,
        flag="--model-arg",
        metavar="KEY=VALUE",
    )
    input_size: int | Sequence[int] | None = option(
        default=None, help="Side of the square input in pixels. Default: the network's own.", least=1, most=65_536
    )


class NetworkSettings(Settings, on_resume=OnResume.INPUT):
    """The network and its weights."""

    model: str | torch.nn.Module | LoadedModel | None = option(
        default=None,
        help="A timm name, torchvision:NAME, hf-hub:ORG/NAME, path/to/file.py:function, demo:se|sk|sa or "
        "photo:se|sk. Default: legacy_seresnet50, the weights nearest the paper (demo:se with --demo).",
    )
    checkpoint: str | Path | None = option(
        default=None,
        help="File with weights: safetensors or a PyTorch state dict (nothing is unpickled).",
        metavar="FILE",
    )
    random_weights: bool = option(default=False, help="Untrained weights, drawn from --seed, to try things out.")


class DataSettings(Settings, panel=Panel.IMAGES, on_resume=OnResume.INPUT):
    """The images, and how many of them."""

    data: str | Path | None = data_option(
        "Labelled images: a folder in any common layout, a .tar, imagenetv2 or tiny-imagenet (see se-probe data), or "
        "hfds/NAME, wds/PLACE ... as timm reads them."
    )
    demo: bool = option(
        default=False, help="Use the bundled drawings, and a bundled network unless --model names another."
    )
    per_class: int = option(default=50, help="Most images of each chosen class.", least=1, most=MOST_IMAGES)
    seed: int = seed_option("Decides which images are taken where there are more, and which channels are shown.")


class DeviceSettings(Settings, panel=Panel.SPEED, on_resume=OnResume.FREE):
    """The device."""

    device: str | None = option(default=None, help="torch device. Default: an accelerator if there is one, else cpu.")


class MachineSettings(DeviceSettings, panel=Panel.SPEED, on_resume=OnResume.FREE):
    """The device, and the processes that decode images."""

    workers: int | None = option(
        default=None, help="Processes that decode images. Default: up to four.", least=0, most=1024
    )


class BatchSettings(Settings, panel=Panel.SPEED, on_resume=OnResume.FREE):
    """The batch size."""

    batch_size: int = option(default=32, help="Images in one forward pass.", least=1, most=LARGEST_BATCH)


class MetricSettings(Settings):
    """A metric of the user's own."""

    metric: str | Callable[..., Any] | None = option(
        default=None,
        help="Your own metric instead of accuracy, path/to/file.py:function: from the network's output and the images "
        "to a number for each image (docs/tasks.md). Images then need no classes.",
        metavar="FILE:FUNCTION",
    )


class FastSettings(Settings, panel=Panel.SPEED, on_resume=OnResume.FREE):
    """The batch size, and whether a faster copy of the network runs."""

    batch_size: int | Literal["auto"] = option(
        default=32,
        help='Images in one forward pass, or "auto" to measure which size is fastest.',
        least=1,
        most=LARGEST_BATCH,
        word="auto",
        metavar="N|auto",
        read=number_or_word,
    )
    exact: bool = option(
        default=False,
        help="Run the network as it is: gates equal those of your own eager hooks bit for bit. Otherwise a copy with "
        "channels last and folded batch norms runs, whose gates are within 1e-5.",
        on_resume=OnResume.IDENTITY,
    )


class ExecutionSettings(FastSettings, panel=Panel.SPEED):
    """How the network runs while it is recorded."""

    compile: bool = option(default=False, help="Compile the network (gates within 1e-5), which pays on long runs.")
    dtype: str | None = option(
        default=None,
        help="float32 or bfloat16; how far gates move is measured and kept. Default: the network's own.",
        choices=("float32", "bfloat16"),
    )
    predictions: bool = option(
        default=True, help="Keep the network's predictions; without them a pass ends after the last recorded site."
    )
    device_decode: bool = option(
        default=False, help="Decode JPEGs on the device (nvJPEG on CUDA); how far gates move is measured and kept."
    )

    @property
    def execution(self) -> Execution:
        """How the network runs."""
        from se_probe.recording import Execution  # imports torch

        return Execution(self.exact, self.compile, self.dtype, self.predictions, self.device_decode)


class FigureSettings(Settings, panel=Panel.FIGURES, on_resume=OnResume.SHOWN):
    """What the figures of a recording show."""

    sites: Sequence[str] | None = sites_option(
        "Sites in the figures. Default: the last of each stage and all of the last stage."
    )
    channels: int | Literal["all"] | None = option(
        default=None,
        help='Number of channels in the figures, sampled uniformly, or "all". Default: 50.',
        least=1,
        most=LARGEST_NUMBER,
        word="all",
        metavar="N|all",
        read=number_or_word,
    )
    within: str | Sequence[str] | None = option(
        default=None, help="Classes of the within-class figure. Default: goldfish,plane if chosen, else the first two."
    )


class DrawSettings(FigureSettings, panel=Panel.FIGURES, on_resume=OnResume.SHOWN):
    """What the figures of an existing recording show."""

    classes: str | Sequence[str] | None = option(default=None, help="Classes to draw. Default: the chosen ones.")
    seed: int = seed_option("Decides which channels are shown.")


class FolderSettings(Settings, panel=Panel.WHERE, on_resume=OnResume.PLACE):
    """Where results go."""

    out: str | Path | None = out_option("The run's folder, instead of reports/<name>.")
    overwrite: bool = option(default=False, help="Replace an earlier run in that folder.")
    progress: bool = progress_option("Show a bar with the time left.")
    command: str | None = option(
        default=None, help="How the run was started, for its provenance. Default: this call.", on_command_line=False
    )

    @property
    def started_by(self) -> str:
        """How the run was started: the command line, or the Python call."""
        return self.command or self.call()


class ReportSettings(Settings, panel=Panel.FIGURES, on_resume=OnResume.SHOWN):
    """Whether there is a report, and the known factors in it."""

    report: bool = option(default=True, help="Measure the gates, judge the papers' claims and write report.html.")
    factors: str | Path | None = option(
        default=None,
        help="CSV file of known factors of the images (column path, and one column per factor): what each explains of "
        "the gates' variance within classes. The demo's are known.",
        metavar="FILE",
    )


class RunSettings(FolderSettings, MachineSettings, DataSettings, ArchitectureSettings, NetworkSettings):
    """The options of every verb that records."""

    demo_model: ClassVar[str] = "demo:se"

    name: str | None = option(
        default=None,
        help="Name of the run's folder under reports/; numbered where it is taken. Default: the network's name.",
        panel=Panel.WHERE,
        on_resume=OnResume.PLACE,
    )

    @property
    def uses_demo(self) -> bool:
        """Whether the bundled drawings are the images: asked for, or a network of the demo without `data`."""
        named = isinstance(self.model, str) and self.model.startswith("demo:")
        return self.demo or (named and self.data is None)

    def network(self, default: str) -> str | torch.nn.Module | LoadedModel:
        """Return the given network, else the demo's or the default."""
        if self.model is None:
            return self.demo_model if self.uses_demo else default
        return self.model


class ReferenceSettings(RunSettings, on_resume=OnResume.INPUT):
    """The options of verbs that record chosen classes and a reference of all others."""

    classes: str | Sequence[str] | None = option(
        default=None,
        help="Classes to compare: indices, wnids or exact names, separated by commas. Default: "
        "goldfish,pug,plane,cliff; without them, the first four classes of the data.",
        kw_only=False,
    )
    reference_per_class: int | None = option(
        default=None,
        help="Images of every other class, for the curve of all classes; 0 for none. Default: as --per-class.",
        least=0,
        most=MOST_IMAGES,
        panel=Panel.IMAGES,
    )
