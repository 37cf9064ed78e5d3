"""Select images of a set by a stated, seeded rule."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Literal

from se_probe.errors import SeProbeError
from se_probe.images.imageset import ImageSet, ImageStream, Sample
from se_probe.labels import ImageClass, LabelSpace

Role = Literal["chosen", "reference"]
_THREADS = 8


@dataclass(frozen=True)
class Selected:
    """A selected sample.

    Attributes:
        sample: the sample.
        role: "chosen" if its class was requested, else "reference".
        position: its index among the samples of the image set.
    """

    sample: Sample
    role: Role
    position: int

    @property
    def unit(self) -> int:
        """Output unit of the sample's class, -1 where there is none."""
        index = self.sample.image_class.index
        return -1 if index is None else index


@dataclass(frozen=True)
class Selection:
    """The selected samples, and the rule that selected them.

    Images of the chosen classes also belong to the reference, unless `reference_per_class` is 0 (no reference).

    Attributes:
        images: the image set.
        chosen: the requested classes, in the requested order.
        entries: the selected samples, in the order of the image set.
        per_class: largest number of images of each chosen class.
        reference_per_class: largest number of images of every other class.
        seed: seed of the draw.
        rule: the rule in words.
    """

    images: ImageSet = field(repr=False)
    chosen: tuple[ImageClass, ...]
    entries: tuple[Selected, ...] = field(repr=False)
    per_class: int
    reference_per_class: int
    seed: int
    rule: str

    def __repr__(self) -> str:
        return (
            f"Selection({len(self.entries)} of {len(self.images.samples)} images of {self.images.title!r}, "
            f"{len(self.chosen)} chosen classes)"
        )


def select(
    images: ImageSet,
    chosen: Sequence[ImageClass],
    *,
    per_class: int = 50,
    reference_per_class: int = 50,
    seed: int = 0,
) -> Selection:
    """Select up to `per_class` images of each chosen class and `reference_per_class` of every other class.

    The draw within a class depends on the seed, the class and the names of its images only, and fewer images are always
    a subset of more.

    Args:
        images: the labelled images.
        chosen: the classes to compare.
        per_class: most images of each chosen class.
        reference_per_class: most images of every other class; 0 for none.
        seed: seed of the draw within classes that have more images.

    Raises:
        SeProbeError: no class is chosen, a chosen class has no images, or a count is out of range.
    """
    _check(images, chosen, per_class, reference_per_class)
    limits = dict.fromkeys(images.classes, reference_per_class) | dict.fromkeys(chosen, per_class)
    by_class: dict[ImageClass, list[int]] = defaultdict(list)
    for position, sample in enumerate(images.samples):
        by_class[sample.image_class].append(position)
    drawn: list[int] = []
    for image_class, members in by_class.items():
        if len(members) > limits[image_class]:
            members = sorted(members, key=lambda position: _rank(images.samples[position], seed))
        drawn += members[: limits[image_class]]
    drawn.sort()
    requested = frozenset(chosen)
    samples = _with_fingerprints(images, [images.samples[position] for position in drawn])
    entries = tuple(
        Selected(sample, "chosen" if sample.image_class in requested else "reference", position)
        for sample, position in zip(samples, drawn, strict=True)
    )
    others = f"{reference_per_class} of every other class" if reference_per_class else "none of any other class"
    rule = (
        f"up to {per_class} images of each chosen class and {others}: all images of a class that has no more, else "
        f"those whose SHA-256 of {seed}/CLASS/FILE (CLASS: wnid or name, FILE: file name) is smallest"
    )
    return Selection(images, tuple(chosen), entries, per_class, reference_per_class, seed, rule)


def _check(images: ImageSet, chosen: Sequence[ImageClass], per_class: int, reference_per_class: int) -> None:
    if not chosen:
        raise SeProbeError("no classes were chosen; expected at least one")
    if per_class < 1:
        raise SeProbeError(f"{per_class} images per class were requested; expected 1 or more")
    if reference_per_class < 0:
        raise SeProbeError(
            f"{reference_per_class} reference images per class were requested; expected 0 (no reference) or more"
        )
    missing = next((image_class for image_class in chosen if image_class not in images.counts), None)
    if missing is not None:
        present = LabelSpace(images.classes, images.title)
        near = present.near(missing.lemmas[0] if missing.lemmas else missing.name)
        some = near or tuple(image_class.describe() for image_class in images.classes[:3])
        raise SeProbeError(
            f"{images.title} has no images of {missing.describe()}; expected one of the {len(images.classes)} classes "
            f"that it has, {'such as' if not near else 'the nearest are'} {', '.join(some)}"
        )


def _with_fingerprints(images: ImageSet, samples: Sequence[Sample]) -> list[Sample]:
    source = images.source
    if isinstance(source, ImageStream):
        return list(samples)

    def with_fingerprint(sample: Sample) -> Sample:
        try:
            return replace(sample, fingerprint=source.fingerprint(sample.path))
        except OSError:
            return replace(sample, fingerprint="unreadable")

    # Threads, because opening a file on a network file system takes a millisecond.
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(with_fingerprint, samples))


def _rank(sample: Sample, seed: int) -> tuple[bytes, str]:
    # Unlike a random generator, a hash depends neither on NumPy's version nor on added images; without the folder, nor
    # on the root.
    class_key = sample.image_class.wnid or sample.image_class.name
    text = f"{seed}/{class_key}/{PurePosixPath(sample.path).name}"
    return hashlib.sha256(text.encode()).digest(), sample.path
