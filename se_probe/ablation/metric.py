"""A metric: the user's function from a network's output and its images to a number for each image."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from se_probe.errors import SeProbeError, one_line
from se_probe.images import Selection
from se_probe.models import function_from_file
from se_probe.models.file_source import line_of

RETURNS = "returns a number for each image of a batch"
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Samples:
    """The images of a batch, which a metric gets beside the network's output.

    Attributes:
        inputs: input of the network, `(image, 3, H, W)`, on its device.
        paths: paths of the images in the data, relative to `root`, with "/".
        classes: names of their classes.
        units: output unit of each image's class, −1 where the network has none, `(image,)`, on the device.
        root: folder, file or URL of the data, None for the demo's drawings.
        untouched: output of the network with its own gates.
    """

    inputs: torch.Tensor = field(repr=False)
    paths: tuple[str, ...]
    classes: tuple[str, ...]
    units: torch.Tensor = field(repr=False)
    root: str | None
    untouched: Any = field(repr=False)

    def __len__(self) -> int:
        return len(self.paths)


def samples_of(selection: Selection, places: Sequence[int], inputs: torch.Tensor, untouched: object) -> Samples:
    """Return the samples of a batch."""
    samples = [selection.entries[place].sample for place in places]
    indices = [sample.image_class.index for sample in samples]
    units = torch.tensor([-1 if index is None else index for index in indices])
    return Samples(
        inputs,
        tuple(sample.path for sample in samples),
        tuple(sample.image_class.name for sample in samples),
        units.to(inputs.device, non_blocking=True),
        selection.images.location,
        untouched,
    )


@dataclass(frozen=True)
class Metric:
    """A function that measures images by a network's output.

    Attributes:
        function: takes the network's output and `Samples`; returns `(image,)` numbers, NaN for an image that is not
            measured.
        name: the function's name.
        unit: of its numbers, "" for none.
        lower_is_better: whether smaller numbers are better.
    """

    function: Callable[[Any, Samples], Any] = field(repr=False)
    name: str
    unit: str
    lower_is_better: bool

    @property
    def facts(self) -> dict[str, Any]:
        """Name, unit, direction and file of the function, as a run keeps them."""
        place = _file_of(self.function)
        origin = {} if place is None else {"file": place.name, "file_sha256": sha256(place.read_bytes()).hexdigest()}
        return {"name": self.name, "unit": self.unit, "lower_is_better": self.lower_is_better, **origin}

    def __call__(self, output: object, samples: Samples) -> torch.Tensor:
        """Return the number of each image, `(image,)`, in float64 where the device has it.

        Raise SeProbeError if the function fails, or does not return a number for each image.
        """
        try:
            found = self.function(output, samples)
        except Exception as error:
            place = _file_of(self.function)
            line = "" if place is None else line_of(error, place)
            raise SeProbeError(f"{self._given(output, samples)}, and failed: {one_line(error)}{line}.") from error
        numbers = found.detach() if isinstance(found, torch.Tensor) else _tensor(found)
        if numbers is None or tuple(numbers.shape) != (len(samples),) or numbers.is_complex():
            raise SeProbeError(
                f"{self._given(output, samples)}, and returned {described(found)}; expected {len(samples)} numbers, "
                "one for each image."
            )
        device = samples.inputs.device
        return numbers.to(device).to(torch.float32 if device.type == "mps" else torch.float64)

    def _given(self, output: object, samples: Samples) -> str:
        return f"the metric {self.name} got the network's output, {described(output)}, and {len(samples)} samples"

    def require_finite(self, values: np.ndarray[Any, Any], clean: np.ndarray[Any, Any], paths: Sequence[str]) -> None:
        """Refuse infinite numbers, and NaN where the untouched network has a number.

        Args:
            values: `(…, image)`.
            clean: `(image,)` of the untouched network.
            paths: the images.
        """
        wrong = np.isinf(values) | (np.isnan(values) & ~np.isnan(clean))
        if wrong.any():
            *_, image = np.argwhere(wrong)[0]
            raise SeProbeError(
                f"the metric {self.name} returned {values[wrong][0]} for {paths[image]}; expected a finite number, or "
                "NaN for an image that is never measured."
            )


def read_metric(given: str | Callable[[Any, Samples], Any] | Metric) -> Metric:
    """Return a metric from a function, or from `path/to/file.py:function`.

    The function's attributes describe its numbers: `lower_is_better` (True or False), and `unit` where they have one.
    Raise SeProbeError if there is no such function, or it has no `lower_is_better`.

    Args:
        given: the function, or where it is; a text comes from the user only, never from a run's folder.
    """
    if isinstance(given, Metric):
        return given
    function = function_from_file(given, RETURNS) if isinstance(given, str) else given
    name = str(getattr(function, "__name__", type(function).__name__))[:_LONGEST_NAME]
    direction = getattr(function, "lower_is_better", None)
    if not isinstance(direction, bool):
        raise SeProbeError(
            f"the metric {name} does not say which direction is better; write {name}.lower_is_better = True (or False) "
            "below the function."
        )
    return Metric(function, name, str(getattr(function, "unit", "")), direction)


def described(value: object) -> str:
    """Describe a value, with the shapes of its tensors."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"{type(value).__name__} with {', '.join(f'{key}: {described(item)}' for key, item in value.items())}"
    if isinstance(value, tuple | list) and any(isinstance(item, torch.Tensor) for item in value):
        return f"a {type(value).__name__} of {', '.join(map(described, value))}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of length {len(value)}"
    return type(value).__name__


def _tensor(found: object) -> torch.Tensor | None:
    try:
        return torch.as_tensor(found)
    except (TypeError, ValueError, RuntimeError):
        return None


def _file_of(function: Callable[..., Any]) -> Path | None:
    """Return the file that defines a function, None where there is none."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    path = None if code is None else Path(code.co_filename)
    return path if path is not None and path.is_file() else None
