"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from se_probe.errors import SeProbeError

Classes = Annotated[
    str | None,
    typer.Option(
        help="Classes to compare: indices, wnids or exact names, separated by commas. "
        "Default: goldfish,pug,plane,cliff."
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="A timm name, torchvision:NAME, hf-hub:ORG/NAME, path/to/file.py:function or demo:se|sk|sa. "
        "Default: legacy_seresnet50, the weights nearest the paper (demo:se with --demo)."
    ),
]
Checkpoint = Annotated[
    Path | None, typer.Option(help="Weights: safetensors or a PyTorch state dict (nothing is unpickled).")
]
ModelArg = Annotated[
    list[str] | None, typer.Option("--model-arg", metavar="KEY=VALUE", help="Argument of the network's builder.")
]
Sites = Annotated[
    str | None,
    typer.Option(help="Sites in the figures. Default: the last of each stage and all of the last stage."),
]
Channels = Annotated[
    str | None, typer.Option(help='Number of channels in the figures, sampled uniformly, or "all". Default: 50.')
]
Within = Annotated[
    str | None, typer.Option(help="Classes of the within-class figure. Default: goldfish,plane, else the first two.")
]
Seed = Annotated[int, typer.Option(help="Decides which images and which channels are taken.")]
Data = Annotated[
    str | None,
    typer.Option(
        envvar="SE_PROBE_DATA",
        help="Labelled images: a folder in any common layout, a .tar, imagenetv2 or tiny-imagenet (see se-probe data), "
        "or hfds/NAME, wds/PLACE ... as timm reads.",
    ),
]
Demo = Annotated[bool, typer.Option("--demo", help="Use the bundled drawings and networks.")]
RandomWeights = Annotated[
    bool, typer.Option("--random-weights", help="Untrained weights, drawn from --seed, to try things out.")
]
PerClass = Annotated[int, typer.Option(help="Images of each chosen class, at the most.")]
ReferencePerClass = Annotated[
    int | None,
    typer.Option(help="Images of every other class, for the curve of all classes. Default: as --per-class."),
]
BatchSize = Annotated[int, typer.Option(help="Images in one forward pass.")]
BatchSizeOrAuto = Annotated[
    str,
    typer.Option("--batch-size", help='Images in one forward pass, or "auto" for the fastest by a short measurement.'),
]
Workers = Annotated[int | None, typer.Option(help="Processes that decode images. Default: a few.")]
Device = Annotated[str | None, typer.Option(help="torch device. Default: an accelerator, if any.")]
Exact = Annotated[
    bool,
    typer.Option(
        "--exact",
        help="Run the network as it is: gates equal those of your own eager hooks bit for bit. Else a copy with "
        "channels last and folded batch norms runs, whose gates are within 1e-5.",
    ),
]
Name = Annotated[str | None, typer.Option(help="Name of the run's folder under reports/.")]
Out = Annotated[Path | None, typer.Option(help="The run's folder, in the place of reports/<name>.")]
OutOrUrl = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="DIR|URL",
        help="The run's folder, in the place of reports/<name>; or an s3://, gs:// ... URL to which it is copied at "
        "the end.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a run that lies there.")]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Continue a run that was stopped, at --out or the last of its --name, with the same settings; starts one "
        "where there is none.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def listed(text: str | None) -> list[str] | None:
    """Return the parts of a text between commas, None for no text."""
    return [part.strip() for part in text.split(",") if part.strip()] if text else None


def number(text: str) -> float:
    """Return a scale as a number.

    Raises:
        SeProbeError: it is none.
    """
    try:
        return float(text)
    except ValueError:
        raise SeProbeError(f'"{text}" is no number; expected scales such as 1.0,1.5,2.0.') from None


def explicit(context: typer.Context, data: str | None, *, demo: bool) -> str | None:
    """Return the data, without what only the environment says where the demo is asked for."""
    source = context.get_parameter_source("data")
    return None if demo and source is not None and source.name == "ENVIRONMENT" else data
