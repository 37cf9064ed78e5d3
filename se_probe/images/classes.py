"""Match the labels of data to the classes of a network, and check that predictions agree with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from scipy.stats import binomtest

from se_probe.errors import SeProbeError
from se_probe.images.imageset import class_order
from se_probe.labels import ImageClass, LabelSpace, class_from_name, is_wnid, name_key

_SIGNIFICANCE = 1e-3
_FEWEST_IMAGES = 50
_FEWEST_CLASSES = 5
_FEWEST_PER_CLASS = 5
_SHUFFLED_RATIO = 0.25


@dataclass(frozen=True)
class Matched:
    """The class of each label text, what the texts are ("wnid", "index", "class name"), and all classes."""

    by_text: Mapping[str, ImageClass] = field(repr=False)
    kind: str
    labels: LabelSpace

    def summary(self, images: int) -> str:
        """Return the numbers of classes, images and classes unknown to the network, as text."""
        foreign = sum(image_class.index is None for image_class in self.by_text.values())
        unknown = f", {foreign} of the classes without a known output unit" if foreign else ""
        return f"({len(self.by_text)} classes, {images} images{unknown})"


def match_labels(texts: Iterable[str], labels: LabelSpace | None, where: str) -> Matched:
    """Match each label text of the data to a class; all texts are of one kind: indices, WordNet ids or names.

    An index is an output unit. WordNet ids and names that the network does not know become classes without a unit.
    """
    ordered = sorted(set(texts))
    kind = _kind(ordered, labels, where)
    by_text = {text: _match_one(text, kind, labels, where) for text in ordered}
    _refuse_shared_classes(by_text, labels, where)
    by_text = _rename_foreign(by_text, labels)
    return Matched(by_text, kind, _joined(by_text, labels, where))


def label_disagreement(labels: Sequence[int | None], predictions: Sequence[int]) -> str | None:
    """Return a warning where labels are shuffled or the network is untrained, judging by its top-1 predictions.

    At least 50 labelled images of at least 5 classes are needed. The warning is given when the accuracy is not above
    that of predictions that ignore the labels (one-sided binomial test at 0.001), or, with 5 images per class or more,
    below a quarter of what the best renaming of classes would reach.

    Args:
        labels: output unit of each image's class, None for a class without one.
        predictions: predicted output unit of each image.

    Raises:
        ValueError: there are not as many predictions as labels.
    """
    pairs = [(true, made) for true, made in zip(labels, predictions, strict=True) if true is not None]
    classes = Counter(true for true, _ in pairs)
    if len(pairs) < _FEWEST_IMAGES or len(classes) < _FEWEST_CLASSES:
        return None
    correct = sum(true == made for true, made in pairs)
    made_counts = Counter(made for _, made in pairs)
    chance = sum(count * made_counts[true] for true, count in classes.items()) / len(pairs) ** 2
    renamed = _renamed_accuracy(pairs) if len(pairs) >= _FEWEST_PER_CLASS * len(classes) else 0.0
    accuracy = correct / len(pairs)
    above_chance = binomtest(correct, len(pairs), min(chance, 1.0), alternative="greater").pvalue <= _SIGNIFICANCE
    if above_chance and accuracy >= _SHUFFLED_RATIO * renamed:
        return None
    return (
        f"predictions agree with the labels of only {correct} of {len(pairs)} images ({accuracy:.1%}; "
        f"{renamed:.1%} if the classes were renamed to fit): either the labels are shuffled (check the order of the "
        "classes) or the network is not trained"
    )


def _kind(texts: list[str], labels: LabelSpace | None, where: str) -> str:
    examples = {_kind_of(text, labels): text for text in reversed(texts)}
    if len(examples) > 1:
        found = ", ".join(f"{kind} ({text})" for kind, text in sorted(examples.items()))
        raise SeProbeError(
            f"{where}: the labels are of several kinds: {found}; expected all wnids, all indices or all class names"
        )
    return next(iter(examples))


def _kind_of(text: str, labels: LabelSpace | None) -> str:
    if is_wnid(text):
        return "wnid"
    numeric = text.isdecimal() and text.isascii()
    # A number is a name first where the network's own classes are called by numbers.
    named = numeric and labels is not None and any(text in c.lemmas for c in labels.candidates(text))
    return "index" if numeric and not named else "class name"


def _match_one(text: str, kind: str, labels: LabelSpace | None, where: str) -> ImageClass:
    found = () if labels is None else labels.candidates(text)
    if kind == "index":
        return _by_index(text, found, labels, where)
    if len(found) > 1:
        meanings = "; ".join(image_class.describe() for image_class in found)
        raise SeProbeError(
            f'{where}: the class name "{text}" is ambiguous: {meanings}; expected the wnid of the one that is meant'
        )
    return found[0] if found else class_from_name(text)


def _by_index(text: str, found: Sequence[ImageClass], labels: LabelSpace | None, where: str) -> ImageClass:
    if labels is None:
        name = str(int(text))
        return ImageClass(int(text), None, name, (name,))
    if not found:
        indices = [c.index for c in labels.classes if c.index is not None]
        raise SeProbeError(
            f"{where}: the label {text} is not an output unit of the network ({labels.title}, "
            f"{min(indices, default=0)} to {max(indices, default=0)}); expected indices in that range or wnids"
        )
    return found[0]


def _refuse_shared_classes(by_text: Mapping[str, ImageClass], labels: LabelSpace | None, where: str) -> None:
    known = frozenset(labels.classes if labels else ())
    first: dict[ImageClass | str, str] = {}
    for text, image_class in by_text.items():
        # A class that only the data has is identified by its name in any spelling.
        named = image_class not in known and image_class.wnid is None and image_class.index is None
        earlier = first.setdefault(name_key(text) if named else image_class, text)
        if earlier != text:
            raise SeProbeError(
                f'{where}: "{earlier}" and "{text}" both mean {image_class.describe()}; expected each class once'
            )


def _rename_foreign(by_text: Mapping[str, ImageClass], labels: LabelSpace | None) -> dict[str, ImageClass]:
    # The network's classes keep their names, so that they equal those resolved in the network's labels.
    known = frozenset(labels.classes if labels else ())
    names = Counter(image_class.name.lower() for image_class in known | frozenset(by_text.values()))
    return {
        text: replace(c, name=f"{c.name} ({c.wnid})") if c not in known and c.wnid and names[c.name.lower()] > 1 else c
        for text, c in by_text.items()
    }


def _joined(by_text: Mapping[str, ImageClass], labels: LabelSpace | None, where: str) -> LabelSpace:
    if labels is None:
        return LabelSpace(tuple(sorted(by_text.values(), key=class_order)), f"labels of {where}")
    known = set(labels.classes)
    foreign = sorted((c for c in by_text.values() if c not in known), key=class_order)
    if not foreign:
        return labels
    return LabelSpace((*labels.classes, *foreign), f"{labels.title} with the classes of {where}")


def _renamed_accuracy(pairs: Sequence[tuple[int, int]]) -> float:
    """Return the accuracy after a greedy one-to-one renaming of classes to predictions."""
    taken: set[int] = set()
    named: set[int] = set()
    correct = 0
    for (true, made), count in sorted(Counter(pairs).items(), key=lambda item: (-item[1], item[0])):
        if true not in named and made not in taken:
            named.add(true)
            taken.add(made)
            correct += count
    return correct / len(pairs)
