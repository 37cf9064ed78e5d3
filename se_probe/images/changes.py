"""Named changes of images at several strengths, seeded by the picture itself.

A change applies to the picture that the network sees: resized and cropped, eight bits a value. A crop applies to the
whole photograph. Random changes are seeded by the run's seed and the picture's bytes: they depend neither on batches
nor on workers, and a picture gets the same noise at every strength, only more of it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from inspect import signature
from typing import Any

import numpy as np
import torch
from PIL import Image

from se_probe.errors import SeProbeError, one_line
from se_probe.images.corruptions import CORRUPTIONS, MOVES, SEVERITIES, TINY
from se_probe.images.decode import makes_tensor
from se_probe.models import function_from_file

Transform = Callable[[Image.Image], torch.Tensor]

PLAIN = "plain"
"""Name of the images as they are."""
CROP = "crop"
_NEUTRAL = (0.485, 0.456, 0.406)
_FILTERS = {item.name.lower(): item for item in Image.Resampling}


@dataclass(frozen=True)
class Kind:
    """A change that has a name.

    Attributes:
        unit: what its strength is.
        strengths: the default strengths.
        plain: the strength at which nothing changes.
        least, most: range of strengths.
        whole: whether strengths are whole numbers.
    """

    unit: str
    strengths: tuple[float, ...]
    plain: float
    least: float
    most: float
    whole: bool = False


_SEVERITY = Kind("severity of ImageNet-C, 1 to 5", (1, 3, 5), 0, 0, 5, whole=True)
KINDS: Mapping[str, Kind] = {
    CROP: Kind("enlargement by central crop and resize", (1.5, 2), 1, 1, 100),
    **dict.fromkeys(SEVERITIES, _SEVERITY),
    "grey": Kind("share of colour that is removed", (1,), 0, 0, 1),
    "rotate": Kind("degrees, counter-clockwise", (15, 45, 90), 0, -360, 360),
    "occlude": Kind("share of the picture that a square hides", (0.1, 0.25, 0.5), 0, 0, 1),
}


@dataclass(frozen=True)
class OwnFunction:
    """A change by a user's `function(image, strength, rng)`; it may omit the last parameters.

    It gets an RGB image of Pillow and returns one of the same size.
    """

    spec: str
    function: Callable[..., Any] = field(compare=False, repr=False)

    def __call__(self, image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
        """Return the changed image, after a check of its type, size and mode."""
        arguments = (image.copy(), strength, rng)[: len(signature(self.function).parameters)]
        try:
            changed = self.function(*arguments)
        except Exception as error:
            raise SeProbeError(
                f"{self.spec} failed on an RGB image of {image.width}×{image.height} pixels at strength {strength:g}: "
                f"{one_line(error)}"
            ) from error
        if not isinstance(changed, Image.Image) or changed.size != image.size or changed.mode != "RGB":
            found = f"{changed.mode} {changed.size}" if isinstance(changed, Image.Image) else type(changed).__name__
            raise SeProbeError(
                f"{self.spec} returned {found} for an RGB image of {image.width}×{image.height} pixels; expected an "
                "RGB image of that size."
            )
        return changed

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by path: a process that decodes images runs the file itself."""
        return own_function, (self.spec,)


@dataclass(frozen=True)
class Change:
    """One change at one strength.

    Attributes:
        name: "crop", "noise", …, or the name of the user's function.
        strength: in the unit of its kind.
        own: the user's function.
    """

    name: str
    strength: float
    own: OwnFunction | None = None

    @property
    def label(self) -> str:
        """Name and strength, "noise 3"."""
        return f"{self.name} {self.strength:g}"

    @property
    def unit(self) -> str:
        """What the strength is."""
        return "strength of the user's function" if self.own else KINDS[self.name].unit


def own_function(spec: str) -> OwnFunction:
    """Return the function that `path/to/file.py:function` names."""
    return OwnFunction(spec, function_from_file(spec, "changes an image"))


_GIVEN = re.compile(r"(?P<name>.+?\.py:[^:]*|[^:]*)(?::(?P<strengths>.*))?", re.DOTALL)


def parse_changes(given: Sequence[str]) -> list[Change]:
    """Parse texts such as "noise:1,3,5", "grey" or "mine.py:fog:0.5"; strengths are in ascending order.

    Repeated changes and strengths at which nothing changes are left out.
    """
    changes = [change for text in given for change in _parsed(text.strip())]
    if not changes:
        raise SeProbeError(
            f"the changes {', '.join(given) or '(none)'} leave images as they are; expected one that changes them, "
            "such as noise:1,3,5."
        )
    names = {change.name: change.own for change in changes}
    for change in changes:
        if names[change.name] != change.own:
            raise SeProbeError(f"two functions named {change.name} were given; rename one of them.")
    return list(dict.fromkeys(changes))


def _parsed(text: str) -> list[Change]:
    found = _GIVEN.fullmatch(text)
    name, listed = (found["name"], found["strengths"]) if found else (text, None)
    if name.partition(":")[0].endswith(".py"):
        own = own_function(name)
        return [Change(name.rpartition(":")[2], strength, own) for strength in _numbers(listed, (1.0,), text)]
    if name not in KINDS:
        raise SeProbeError(
            f"the change {name!r} is not known; expected one of {', '.join(KINDS)}, or path/to/file.py:function."
        )
    kind = KINDS[name]
    strengths = _numbers(listed, kind.strengths, text)
    for strength in strengths:
        if not kind.least <= strength <= kind.most or (kind.whole and not strength.is_integer()):
            number = "a whole number" if kind.whole else "a number"
            raise SeProbeError(
                f"{name} was given the strength {strength:g}; expected {number} from {kind.least:g} to {kind.most:g} "
                f"({kind.unit})."
            )
    return [Change(name, strength) for strength in strengths if strength != kind.plain]


def _numbers(listed: str | None, default: Sequence[float], text: str) -> list[float]:
    try:
        numbers = [float(item) for item in listed.split(",")] if listed is not None else list(map(float, default))
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise SeProbeError(f"the change {text!r} cannot be read; expected NAME:STRENGTH,STRENGTH, such as noise:1,3,5.")
    return sorted(set(numbers))


def resampling(preprocessing: Mapping[str, object]) -> Image.Resampling:
    """Return the filter that a model's preprocessing names under "interpolation", bicubic where it names none."""
    return _FILTERS.get(str(preprocessing.get("interpolation")), Image.Resampling.BICUBIC)


def enlarge(image: Image.Image, scale: float, filter_: Image.Resampling) -> Image.Image:
    """Return the central 1/scale of an image's width and height, resized to the size of the whole.

    The crop is rounded to whole pixels; where it cannot be centred, it is half a pixel to the left or above.
    Resizing is Pillow's, which is antialiased. At scale 1 the pixels stay as they are.
    """
    width, height = max(1, round(image.width / scale)), max(1, round(image.height / scale))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height)).resize(image.size, filter_)


@dataclass(frozen=True)
class Enlarge:
    """A transform that enlarges an image and then applies another; it can be pickled where `then` can."""

    scale: float
    filter_: Image.Resampling
    then: Transform

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Enlarge an image and apply `then`."""
        return self.then(enlarge(image, self.scale, self.filter_))


def changed_transform(
    change: Change, transform: Transform, preprocessing: Mapping[str, object], *, seed: int
) -> Transform:
    """Return a network's transform with a change in it; it can be pickled where `transform` can.

    `transform` is a `Compose` with a step that makes a tensor, as timm makes them, or torchvision's transform of a
    classifier; `preprocessing` is the network's, with "interpolation" and "mean"; `seed` is that of random changes.
    """
    if change.name == CROP and change.own is None:
        return Enlarge(change.strength, resampling(preprocessing), transform)
    before, after = picture_steps(transform)
    mean = preprocessing.get("mean")
    fill = tuple(mean) if isinstance(mean, Sequence) and len(mean) == 3 else _NEUTRAL
    return Changed(change, seed, tuple(round(255 * float(level)) for level in fill), before, after)


def picture_steps(transform: Transform) -> tuple[tuple[Callable[..., Any], ...], tuple[Callable[..., Any], ...]]:
    """Split a transform into the steps that make the picture and those that make a tensor of it."""
    steps = _steps(transform)
    first = next((place for place, step in enumerate(steps) if makes_tensor(step)), None)
    if first is None:
        raise SeProbeError(
            f"images cannot be changed before a transform of type {type(transform).__name__}, which has no step that "
            "makes a tensor of a picture; expected torchvision.transforms.Compose with ToTensor, or change crops only."
        )
    return steps[:first], steps[first:]


def _steps(transform: Any) -> tuple[Callable[..., Any], ...]:
    from torchvision.transforms import CenterCrop, Compose, ConvertImageDtype, Normalize, PILToTensor, Resize
    from torchvision.transforms._presets import ImageClassification

    if isinstance(transform, Compose):
        return tuple(transform.transforms)
    if not isinstance(transform, ImageClassification):
        return (transform,)
    return (
        Resize(transform.resize_size, interpolation=transform.interpolation, antialias=transform.antialias),
        CenterCrop(transform.crop_size),
        PILToTensor(),
        ConvertImageDtype(torch.float32),
        Normalize(transform.mean, transform.std),
    )


@dataclass(frozen=True)
class Changed:
    """A transform that changes the picture between the steps `before` and `after`."""

    change: Change
    seed: int
    fill: tuple[int, ...]
    before: tuple[Callable[..., Any], ...]
    after: tuple[Callable[..., Any], ...]

    def picture(self, image: Image.Image) -> Image.Image:
        """Return the changed picture."""
        for step in self.before:
            image = step(image)
        digest = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).digest()
        rng = np.random.default_rng([self.seed, *np.frombuffer(digest, dtype=np.uint32).tolist()])
        name, strength = self.change.name, self.change.strength
        if self.change.own is not None:
            return self.change.own(image, strength, rng)
        if name in SEVERITIES:
            tiny = min(image.size) < TINY
            return CORRUPTIONS[name](image, SEVERITIES[name][int(tiny)][int(strength) - 1], rng)
        return MOVES[name](image, strength, rng, self.fill)

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Return the network's input made of the changed picture."""
        value: Any = self.picture(image)
        for step in self.after:
            value = step(value)
        tensor: torch.Tensor = value
        return tensor


def pictured(transform: Transform, then: Transform) -> Transform:
    """Return a network's transform, or one of `changed_transform`, that ends in `then` in place of the tensor steps."""
    if isinstance(transform, Changed):
        return replace(transform, after=(then,))
    if isinstance(transform, Enlarge):
        return replace(transform, then=pictured(transform.then, then))
    from torchvision.transforms import Compose

    composed: Transform = Compose([*picture_steps(transform)[0], then])
    return composed
