"""Label spaces: the names of classes, and the class that an exact name, index or WordNet id means."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path

from se_probe.errors import SeProbeError

AIRLINER = "n02690373"
CARPENTERS_PLANE = "n03954731"
_WNID = re.compile(r"n\d{8}")
_SUGGESTIONS = 5
_LONGEST_INDEX = 20


@dataclass(frozen=True)
class ImageClass:
    """A class of images in a label space.

    Attributes:
        index: output unit of the network, None without one.
        wnid: WordNet id, None without one.
        name: display name, unique within the label space.
        lemmas: every exact name of the class, the first lemma first.
    """

    index: int | None
    wnid: str | None
    name: str
    lemmas: tuple[str, ...]

    def describe(self) -> str:
        """Return the first lemma with what identifies the class: `airliner (404, n02690373)`."""
        facts = [str(fact) for fact in (self.index, self.wnid) if fact is not None]
        first = self.lemmas[0] if self.lemmas else self.name
        return f"{first} ({', '.join(facts)})" if facts else first


@dataclass(frozen=True)
class Resolution:
    """The class that a query means.

    Attributes:
        query: the query, as given.
        image_class: the class.
        note: a line for the user if the reading is unusual, else None.
    """

    query: str
    image_class: ImageClass
    note: str | None


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a network or data set, and the names of each.

    Attributes:
        classes: the classes, in index order.
        title: name used in messages.

    Raises:
        SeProbeError: two classes share a display name, an index or a WordNet id.
    """

    classes: tuple[ImageClass, ...]
    title: str

    def __repr__(self) -> str:
        return f"LabelSpace({self.title!r}, {len(self.classes)} classes)"

    def __post_init__(self) -> None:
        """Refuse two classes with one identity."""
        for what, attribute in (("WordNet id", "wnid"), ("index", "index"), ("name", "name")):
            keys = Counter(getattr(image_class, attribute) for image_class in self.classes)
            repeated = next((key for key, count in keys.items() if count > 1 and key is not None), None)
            if repeated is not None:
                raise SeProbeError(
                    f"{self.title} has more than one class with the {what} {repeated}; expected each {what} once"
                )

    def resolve(self, query: str) -> Resolution:
        """Return the class that `query` (an index, a WordNet id or an exact lemma, in any case) means.

        The SENet paper's "plane" is the airliner where the label space has one, with a note.

        Raises:
            SeProbeError: no class, or more than one, has that name.
        """
        candidates = self.candidates(query)
        if not candidates:
            raise SeProbeError(self._unknown(query))
        if name_key(query) == "plane" and _is_airliner(candidates[0]):
            return Resolution(query, candidates[0], _plane_note(candidates))
        if len(candidates) > 1:
            raise SeProbeError(
                f'"{query}" is ambiguous in {self.title}: {"; ".join(map(_defined, candidates))}. '
                "Give the index, the WordNet id or another name of the one you mean"
            )
        note = None
        if (number := _number(name_key(query))) is not None and candidates[0].index != number:
            note = f'"{query}" is read as a class name, {candidates[0].describe()}, not as an index'
        return Resolution(query, candidates[0], note)

    def resolve_all(self, queries: str | Sequence[str]) -> tuple[Resolution, ...]:
        """Resolve a list of names, or one string of names separated by commas, in the order given.

        Raises:
            SeProbeError: the list is empty, a name does not resolve, or two of them mean the same class.
        """
        names = queries.split(",") if isinstance(queries, str) else queries
        resolutions = tuple(self.resolve(name.strip()) for name in names if name.strip())
        if not resolutions:
            raise SeProbeError("no class names were given; expected some, for example goldfish,pug,plane,cliff")
        first: dict[ImageClass, Resolution] = {}
        for item in resolutions:
            earlier = first.setdefault(item.image_class, item)
            if earlier is not item:
                raise SeProbeError(
                    f'"{earlier.query}" and "{item.query}" both mean {item.image_class.describe()}; '
                    "name each class once"
                )
        return resolutions

    def candidates(self, query: str) -> tuple[ImageClass, ...]:
        """Return every class that `query` may mean, for "plane" the airliner before the carpenter's plane.

        A number is first a name and then an index.
        """
        key = name_key(query)
        named = self._by_name.get(key, ())
        if key == "plane" and all(image_class.wnid == CARPENTERS_PLANE for image_class in named):
            named = (*(c for c in self._by_name.get("airliner", ()) if _is_airliner(c)), *named)
        number = _number(key)
        return self._by_index.get(number, ()) if not named and number is not None else named

    @cached_property
    def _by_name(self) -> Mapping[str, tuple[ImageClass, ...]]:
        table: dict[str, dict[ImageClass, None]] = defaultdict(dict)
        for image_class in self.classes:
            for name in (image_class.name, image_class.wnid or image_class.name, *image_class.lemmas):
                table[name_key(name)][image_class] = None
        return {name: tuple(classes) for name, classes in table.items()}

    @cached_property
    def _by_index(self) -> Mapping[int, tuple[ImageClass, ...]]:
        return {c.index: (c,) for c in self.classes if c.index is not None}

    def _unknown(self, query: str) -> str:
        key = name_key(query)
        indices = [c.index for c in self.classes if c.index is not None]
        if key.isdecimal() and indices:
            return f"{self.title} has no class {key}; expected an index from {min(indices)} to {max(indices)}"
        if _WNID.fullmatch(key):
            meaning = f" ({', '.join(_lemmas()[key])})" if key in _lemmas() else ""
            return f"{self.title} has no class {key}{meaning}; expected one of its {len(self.classes)} classes"
        near = self.near(query)
        remedy = f"near names: {', '.join(near)}" if near else "expected an index, a WordNet id or an exact name"
        return f'no class of {self.title} is named "{query}"; {remedy}'

    def near(self, query: str) -> tuple[str, ...]:
        """Return up to five classes whose name is similar to `query` or contains its words, best first."""
        key = name_key(query)
        names = [name_key(lemma) for image_class in self.classes for lemma in (image_class.name, *image_class.lemmas)]
        close = get_close_matches(key, names, n=_SUGGESTIONS, cutoff=0.75)
        words = set(key.split())
        holding = [name for name in names if words and words <= set(re.split(r"[\s-]+", name))]
        found = dict.fromkeys(c.describe() for name in (*close, *holding) for c in self._by_name[name])
        return tuple(found)[:_SUGGESTIONS]


@cache
def imagenet() -> LabelSpace:
    """Return the 1000 classes of ImageNet-1k in the order of timm's `ImageNetInfo` (torchvision's too)."""
    return label_space_from_names(_info_file("imagenet_synsets.txt").splitlines(), "ImageNet-1k")


def label_space_from_names(names: Sequence[str], title: str) -> LabelSpace:
    """Return the label space whose class i is called `names[i]`, a WordNet id or a plain name.

    WordNet ids get the lemmas of timm's metadata, which covers ImageNet-22k. A list of names (`tench, Tinca tinca`) is
    one class with each of them. Repeated display names get their WordNet id or index.

    Raises:
        SeProbeError: a WordNet id is repeated, or a name is empty.
    """
    if not all(name.strip() for name in names):
        raise SeProbeError(f"{title} has a class without a name; expected {len(names)} non-empty names")
    return LabelSpace(unique_names(class_from_name(name, index) for index, name in enumerate(names)), title)


def class_from_name(name: str, index: int | None = None) -> ImageClass:
    """Return the class of a WordNet id (`n01443537`) or a plain name, without a label space."""
    name = name.strip()
    if _WNID.fullmatch(name):
        lemmas = _lemmas().get(name, ())
        return ImageClass(index, name, lemmas[0] if lemmas else name, lemmas)
    parts = name.split(", ") if ", " in name else []
    spaced = name.replace("_", " ")
    return ImageClass(index, None, name, tuple(dict.fromkeys((name, spaced, *parts))))


def unique_names(classes: Iterable[ImageClass]) -> tuple[ImageClass, ...]:
    """Return the classes with each repeated display name followed by its WordNet id, or else its index."""
    given = tuple(classes)
    counts = Counter(name_key(image_class.name) for image_class in given)
    return tuple(
        replace(c, name=f"{c.name} ({c.wnid or f'index {c.index}'})") if counts[name_key(c.name)] > 1 else c
        for c in given
    )


def is_wnid(text: str) -> bool:
    """Return whether `text` has the form of a WordNet noun id, as in `n01443537`."""
    return _WNID.fullmatch(text) is not None


def definition(image_class: ImageClass) -> str | None:
    """Return WordNet's definition of the class, None where there is none."""
    return _definitions().get(image_class.wnid or "")


def name_key(text: str) -> str:
    """Return a name in a form that ignores case, underscores, spaces and the encoding of accents."""
    # Composed, because some file systems decompose accents.
    return " ".join(unicodedata.normalize("NFC", text).replace("_", " ").lower().split())


def _number(key: str) -> int | None:
    # Python refuses to read numbers of thousands of digits.
    return int(key) if key.isdecimal() and len(key) < _LONGEST_INDEX else None


def _is_airliner(image_class: ImageClass) -> bool:
    return image_class.wnid == AIRLINER or (image_class.wnid is None and name_key(image_class.name) == "airliner")


def _plane_note(candidates: tuple[ImageClass, ...]) -> str:
    note = f'"plane" is read as the vehicle of the SENet paper, {candidates[0].describe()}'
    if len(candidates) == 1:
        return note
    facts = [str(fact) for fact in (candidates[1].index, candidates[1].wnid) if fact is not None]
    return f'{note}; the tool is reached as "carpenter\'s plane" ({", ".join(facts)})'


def _defined(image_class: ImageClass) -> str:
    meaning = definition(image_class)
    also = f", also {', '.join(image_class.lemmas[1:])}" if image_class.lemmas[1:] else ""
    return image_class.describe() + also + (f": {meaning}" if meaning else "")


def _info_file(name: str) -> str:
    # The files behind timm.data.ImageNetInfo, read without importing timm and so torch, which takes seconds.
    spec = find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        raise SeProbeError("timm is not installed; expected it beside se-probe: reinstall se-probe")
    path = Path(next(iter(spec.submodule_search_locations)), "data", "_info", name)
    if not path.is_file():
        raise SeProbeError(f"timm's ImageNet metadata is not at {path}; expected timm 1.0.12 or later: reinstall timm")
    return path.read_text(encoding="utf-8")


def _table(name: str) -> dict[str, str]:
    rows = (line.partition("\t") for line in _info_file(name).splitlines())
    return {wnid: text for wnid, tab, text in rows if tab}


@cache
def _lemmas() -> Mapping[str, tuple[str, ...]]:
    return {wnid: tuple(text.split(", ")) for wnid, text in _table("imagenet_synset_to_lemma.txt").items()}


@cache
def _definitions() -> Mapping[str, str]:
    return _table("imagenet_synset_to_definition.txt")
