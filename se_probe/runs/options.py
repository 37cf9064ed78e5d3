"""Declare each option of a verb once, and derive everything else from it.

A field of a `Settings` class declares an option. From it come the Python signature and its documentation (`runs.verb`),
the command line (`cli.commands`), the settings in `run.json`, what `--resume` compares, and the command that resumes a
run.
"""

from __future__ import annotations

import inspect
import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import Enum
from numbers import Integral, Real
from pathlib import Path
from types import MappingProxyType
from typing import Any, dataclass_transform

from se_probe.errors import SeProbeError

_LONGEST_TEXT = 4096
# What a call can be written with; a network in memory is left to the reader.
_WRITTEN = (bool, int, float, str, Path, Mapping, Sequence, type(None))


class OnResume(Enum):
    """What becomes of an option when a run is resumed."""

    INPUT = "names an input, which is compared by what it resolves to (weights, images), however it is spelled"
    IDENTITY = "identifies the run, and is compared by its value"
    FREE = "may change"
    SHOWN = "decides what is shown only"
    PLACE = "decides where results go only"


class Panel(Enum):
    """A group of options in the help, in the order in which help shows them."""

    WHAT = "What"
    IMAGES = "Images"
    FIGURES = "Figures and report"
    SPEED = "Speed"
    WHERE = "Where"


@dataclass(frozen=True)
class Option:
    """An option of a verb.

    Attributes:
        name: its name in Python.
        annotation: its type, as written.
        default: its default, `MISSING` where it is required.
        positional: whether Python also takes it without its name.
        help: what it does, for the command line and for Python; `--other-option` names another option.
        panel: its group in the help.
        on_resume: what becomes of it when a run is resumed.
        least, most: range of a number, both included.
        above: a number that the value must exceed.
        choices: the values that it may have.
        word: one value that is a word where the others are numbers, such as "auto".
        read: reads a text, given in Python or on the command line; a mapping's reader gets a list of texts.
        flag: its name on the command line, by default `--name`; "" where its value stands there alone.
        metavar: what stands for its value in the help.
        envvar: environment variable that gives the value where none is given.
        on_command_line: whether the command line has it.
    """

    name: str
    annotation: str
    default: Any
    positional: bool
    help: str
    panel: Panel
    on_resume: OnResume
    least: float | None = None
    most: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    word: str | None = None
    read: Callable[[Any], object] | None = None
    flag: str = ""
    metavar: str | None = None
    envvar: str | None = None
    on_command_line: bool = True

    @classmethod
    def of(cls, item: Field[Any]) -> Option:
        """Return what a field of a `Settings` class declares."""
        annotation = item.type if isinstance(item.type, str) else inspect.formatannotation(item.type)
        declared: dict[str, Any] = {"flag": f"--{item.name.replace('_', '-')}", **item.metadata}
        return cls(item.name, annotation, item.default, not item.kw_only, **declared)

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING

    @property
    def unnamed(self) -> bool:
        """Whether its value stands on the command line without a flag."""
        return self.required or not self.flag

    @property
    def kind(self) -> type:
        """The type of its value on the command line; `list` where it may be given several times."""
        kinds = {"bool": bool, "int": int, "float": float, "Mapping": list, "Sequence": list}
        return kinds.get(self._first, str) if self.read is None or self._first == "Mapping" else str

    @property
    def _first(self) -> str:
        """The first of its types, without what it holds."""
        return re.split(r"[\s\[|]", self.annotation)[0].rpartition(".")[2]

    @property
    def expected(self) -> str:
        """The values that it may have, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        least, most = (None if limit is None else f"{limit:,}" for limit in (self.least, self.most))
        if self.above is not None:
            span = f"a number above {self.above:g}" + (f" and up to {most}" if most else "")
        else:
            span = f"a whole number from {least} to {most}"
        return span + (f', or "{self.word}"' if self.word else "")

    def accept(self, value: Any) -> Any:
        """Return a value as settings keep it.

        Raises:
            SeProbeError: it is not one that the option may have.
        """
        if isinstance(value, (str, Path)):
            self._check_text(str(value))
        texts = (str, list, tuple) if self._first in ("Sequence", "Mapping") else str
        if self.read is not None and isinstance(value, texts):
            value = self.read(value)
        limits = (self.least, self.most, self.above)
        if value is None or value == self.word or not (self.choices or any(limit is not None for limit in limits)):
            return value
        if isinstance(value, Sequence) and not isinstance(value, str):
            return tuple(self._accept_one(item) for item in value)
        return self._accept_one(value)

    def _accept_one(self, value: Any) -> Any:
        if not (value in self.choices if self.choices else self._in_range(value)):
            raise SeProbeError(f"{self.flag} {value} was given; expected {self.expected}.")
        return int(value) if isinstance(value, Integral) else value

    def _in_range(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, Integral if self.above is None else Real):
            return False
        least, most = (-math.inf if self.least is None else self.least), (math.inf if self.most is None else self.most)
        number = float(value)
        return math.isfinite(number) and least <= number <= most and (self.above is None or number > self.above)

    def _check_text(self, text: str) -> None:
        if not text.strip() or "\0" in text or len(text) > _LONGEST_TEXT:
            shown = text if len(text) <= _LONGEST_TEXT else f"{text[:40]}… ({len(text):,} characters)"
            raise SeProbeError(
                f"{self.flag} {shown!r} was given; expected a text of 1 to {_LONGEST_TEXT:,} characters, or leave it "
                "out."
            )

    def words(self, value: Any) -> list[str]:
        """Return what the command line says to give the option a value."""
        if self.kind is bool:
            return [self.flag if value else f"--no-{self.flag[2:]}"]
        if isinstance(value, Mapping):
            return [word for key, inner in value.items() for word in (self.flag, f"{key}={inner}")]
        if self.kind is list:
            return (
                [str(item) for item in value]
                if self.required
                else [w for item in value for w in (self.flag, str(item))]
            )
        if isinstance(value, Sequence) and not isinstance(value, str):
            value = ",".join(str(item) for item in value)
        return [str(value)] if self.unnamed else [self.flag, str(value)]


def option(*, help: str, default: Any = MISSING, kw_only: bool = True, **declared: Any) -> Any:
    """Declare a field of a `Settings` class; `declared` are further attributes of `Option`."""
    return field(default=default, kw_only=kw_only, metadata={"help": help, **declared})


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(option,))
class Settings:
    """Base of the settings of a verb: a frozen dataclass of options, each checked when it is made.

    Raises:
        SeProbeError: a value is out of range, of another type, or cannot be read.
    """

    def __init_subclass__(cls, panel: Panel = Panel.WHAT, on_resume: OnResume = OnResume.IDENTITY) -> None:
        """Make a dataclass; `panel` and `on_resume` hold for every option of the class that does not say otherwise."""
        for item in vars(cls).values():
            if isinstance(item, Field):
                item.metadata = MappingProxyType({"panel": panel, "on_resume": on_resume, **item.metadata})
        dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        """Read texts and check every value."""
        for item in self.options():
            object.__setattr__(self, item.name, item.accept(getattr(self, item.name)))

    @classmethod
    def options(cls) -> list[Option]:
        """Return the options in the order in which help shows them."""
        panels = list(Panel)
        found = map(Option.of, fields(cls))  # type: ignore[arg-type]  # it is a dataclass by now
        return sorted(found, key=lambda item: (panels.index(item.panel), not item.positional))

    def kept(self, *roles: OnResume) -> dict[str, Any]:
        """Return the values of the options with some roles, as JSON-able values."""
        return {item.name: jsonable(getattr(self, item.name)) for item in self.options() if item.on_resume in roles}

    def command_line(self, verb: str, **changed: object) -> str:
        """Return the command line of these settings, with some of them changed."""
        words = ["se-probe", verb]
        for item, value in self._given(changed):
            words += item.words(value) if item.on_command_line else []
        return shlex.join(words)

    def call(self, verb: str, **changed: object) -> str:
        """Return the Python call of these settings, with some of them changed."""
        arguments = (
            f"{item.name}={repr(jsonable(value)) if isinstance(value, _WRITTEN) else '...'}"
            for item, value in self._given(changed)
        )
        return f"se_probe.{verb}({', '.join(arguments)})"

    def _given(self, changed: Mapping[str, object]) -> list[tuple[Option, Any]]:
        """Return the options that are not at their default, with their values."""
        values = [(item, changed.get(item.name, getattr(self, item.name))) for item in self.options()]
        return [(item, value) for item, value in values if item.required or value != item.default]


def names(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return names from a list, or from a text with commas between them.

    Raises:
        SeProbeError: there are none.
    """
    parts = given.split(",") if isinstance(given, str) else given
    found = tuple(str(part).strip() for part in parts if str(part).strip())
    if not found:
        raise SeProbeError(f"{given!r} was given for names; expected some, separated by commas.")
    return found


def numbers(given: str | Sequence[float]) -> tuple[float, ...]:
    """Return numbers from a list, or from a text with commas between them.

    Raises:
        SeProbeError: something in it is no number.
    """
    found = []
    for part in names(given) if isinstance(given, str) else given:
        try:
            found.append(float(part))
        except (TypeError, ValueError):
            raise SeProbeError(
                f'"{part}" is no number; expected numbers separated by commas, such as 1,1.5,2.'
            ) from None
    return tuple(int(value) if value.is_integer() else value for value in found)


def number_or_word(text: str) -> int | str:
    """Return the whole number that a text is, else the text."""
    return int(text) if re.fullmatch(r"[+-]?\d+", text.strip()) else text.strip()


def jsonable(value: Any) -> Any:
    """Return an option's value as JSON has it; a network in memory is named by its class."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (str, Path)):
        return str(value).encode("utf-8", "backslashreplace").decode()  # Names of files need not be text.
    if isinstance(value, Mapping):
        return {str(key): jsonable(inner) for key, inner in value.items()}
    if isinstance(value, (Sequence, set, frozenset)):
        return [jsonable(item) for item in value]
    return str(getattr(value, "name", type(value).__name__))
