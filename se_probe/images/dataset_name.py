"""What a named data set is called, and what opening one gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from se_probe.errors import SeProbeError
from se_probe.images.imageset import ImageSource, ImageStream


@dataclass(frozen=True)
class OpenedDataset:
    """What one kind of data set gives: a name and a label for each image, and how to open them."""

    paths: Sequence[str]
    labels: Sequence[int | None]
    label_names: Sequence[str] | None
    words: str
    source: ImageSource | ImageStream


@dataclass(frozen=True)
class DatasetName:
    """A name such as `hfds/timm/mini-imagenet#test`, taken apart."""

    text: str
    kind: str
    place: str
    split: str | None


def require(name: DatasetName, package: str) -> None:
    """Check that the package which opens such a data set is installed.

    Raises:
        SeProbeError: it is not; the message says how to install it.
    """
    if find_spec(package) is None:
        remedy = (
            "pip install tensorflow-datasets" if package == "tensorflow_datasets" else 'pip install "se-probe[data]"'
        )
        raise SeProbeError(f"{name.text} needs the package {package}, which is not installed; {remedy}")
