"""Declare each option of a verb once, and derive everything else from it.

A field of a `Settings` class declares an option. From it come the Python signature and its documentation (`verb`), the
command line (`cli.commands`), the settings in `run.json`, what `--resume` compares, and the command that resumes a run.
"""

from __future__ import annotations

import inspect
import math
import re
import shlex
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from difflib import get_close_matches
from enum import Enum
from functools import wraps
from numbers import Integral, Real
from pathlib import Path
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar, dataclass_transform

from se_probe.errors import SeProbeError

P = ParamSpec("P")
S = TypeVar("S", bound="Settings")
R = TypeVar("R")

_LONGEST_TEXT = 4096
_DOC_WIDTH = 112
# Values that a Python call can spell out; a network in memory is written as "...".
_WRITTEN = (bool, int, float, str, Path, Mapping, Sequence, type(None))


class OnResume(Enum):
    """How a resumed run treats an option."""

    INPUT = "names an input, compared by what it resolves to (weights, images)"
    IDENTITY = "identifies the run, compared by value"
    FREE = "may change"
    SHOWN = "affects only what is shown"
    PLACE = "affects only where results go"


class Panel(Enum):
    """A group of options in the help, in display order."""

    WHAT = "What"
    IMAGES = "Images"
    FIGURES = "Figures and report"
    SPEED = "Speed"
    WHERE = "Where"


@dataclass(frozen=True)
class Option:
    """An option of a verb.

    Attributes:
        name: the keyword in Python.
        annotation: the type, as written.
        default: `MISSING` if the option is required.
        positional: whether Python also takes it without its name.
        help: for the command line and for Python; `--other-option` refers to another option.
        panel: group in the help.
        on_resume: how a resumed run treats it.
        least, most: range of a number, both included.
        above: exclusive lower bound.
        choices: allowed values.
        word: one allowed word beside numbers, such as "auto".
        read: parses text, from Python or the command line; for a mapping, a list of texts.
        flag: `--name` by default; "" for a value without a flag.
        metavar: placeholder for the value in the help.
        envvar: environment variable with the default.
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
    metavar: str = ""
    envvar: str | None = None
    on_command_line: bool = True

    @classmethod
    def of(cls, item: Field[Any]) -> Option:
        """Return the option that a field of a `Settings` class declares."""
        annotation = item.type if isinstance(item.type, str) else inspect.formatannotation(item.type)
        flag, metavar = f"--{item.name.replace('_', '-')}", "NAMES" if "Sequence[str]" in annotation else "NAME"
        if re.search(r"\b(int|float)\b", annotation):
            metavar = "NUMBERS" if item.metadata.get("read") is numbers else "N"
        declared: dict[str, Any] = {"flag": flag, "metavar": metavar, **item.metadata}
        return cls(item.name, annotation, item.default, not item.kw_only, **declared)

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING

    @property
    def unnamed(self) -> bool:
        """Whether the command line takes its value without a flag."""
        return self.required or not self.flag

    @property
    def kind(self) -> type:
        """The type of the value on the command line; `list` if it may be repeated."""
        kinds = {"bool": bool, "int": int, "float": float, "Mapping": list, "Sequence": list}
        return kinds.get(self._first, str) if self.read is None or self._first == "Mapping" else str

    @property
    def _first(self) -> str:
        """The first type of the annotation, without parameters."""
        return re.split(r"[\s\[|]", self.annotation)[0].rpartition(".")[2]

    @property
    def expected(self) -> str:
        """The allowed values, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        least, most = (None if limit is None else f"{limit:,}" for limit in (self.least, self.most))
        if self.above is not None:
            span = f"a number above {self.above:g}" + (f" and up to {most}" if most else "")
        else:
            span = f"a whole number from {least} to {most}"
        return span + (f', or "{self.word}"' if self.word else "")

    def accept(self, value: Any) -> Any:
        """Parse and check a value; raise SeProbeError if the option does not allow it."""
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
        """Return the command-line arguments that set the option to a value."""
        if self.kind is bool:
            return [self.flag if value else f"--no-{self.flag[2:]}"]
        flag = [] if self.unnamed else [self.flag]
        if isinstance(value, Mapping):
            value = [f"{key}={inner}" for key, inner in value.items()]
        if self.kind is list:
            return [word for item in value for word in (*flag, str(item))]
        if isinstance(value, Sequence) and not isinstance(value, str):
            value = ",".join(map(str, value))
        return [*flag, str(value)]


def option(*, help: str, default: Any = MISSING, kw_only: bool = True, **declared: Any) -> Any:
    """Declare a field of a `Settings` class; `declared` are other attributes of `Option`."""
    return field(default=default, kw_only=kw_only, metadata={"help": help, **declared})


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(option,))
class Settings:
    """Base of the settings of a verb: a frozen dataclass whose options are checked on creation.

    Raises:
        SeProbeError: a value is out of range, of the wrong type, or cannot be parsed.
    """

    def __init_subclass__(cls, panel: Panel = Panel.WHAT, on_resume: OnResume = OnResume.IDENTITY) -> None:
        """Make a dataclass; `panel` and `on_resume` are the defaults of its own options."""
        for item in vars(cls).values():
            if isinstance(item, Field):
                item.metadata = MappingProxyType({"panel": panel, "on_resume": on_resume, **item.metadata})
        dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        """Parse and check every value."""
        for item in self.options():
            object.__setattr__(self, item.name, item.accept(getattr(self, item.name)))

    @classmethod
    def options(cls) -> list[Option]:
        """Return the options in the order of the help."""
        panels = list(Panel)
        found = map(Option.of, fields(cls))  # type: ignore[arg-type]  # it is a dataclass by now
        return sorted(found, key=lambda item: (panels.index(item.panel), not item.positional))

    def kept(self, *roles: OnResume) -> dict[str, Any]:
        """Return the options with these roles, as JSON-able values."""
        return {item.name: jsonable(getattr(self, item.name)) for item in self.options() if item.on_resume in roles}

    @classmethod
    def verb(cls) -> str:
        """Return the name of the verb: `excite` for `ExciteSettings`."""
        return cls.__name__.removesuffix("Settings").lower()

    def command_line(self, **changed: object) -> str:
        """Return the command line of these settings, with some of them changed."""
        words = [word for item, value in self._given(changed) if item.on_command_line for word in item.words(value)]
        return shlex.join(["se-probe", self.verb(), *words])

    def call(self, **changed: object) -> str:
        """Return the Python call of these settings, with some of them changed."""
        arguments = (
            f"{item.name}={repr(jsonable(value)) if isinstance(value, _WRITTEN) else '...'}"
            for item, value in self._given(changed)
        )
        return f"se_probe.{self.verb()}({', '.join(arguments)})"

    def _given(self, changed: Mapping[str, object]) -> list[tuple[Option, Any]]:
        """Return the options that are not at their default, with their values."""
        values = [(item, changed.get(item.name, getattr(self, item.name))) for item in self.options()]
        return [(item, value) for item, value in values if item.required or value != item.default]


def verb(settings: Callable[P, S]) -> Callable[[Callable[[S], R]], Callable[P, R]]:
    """Give a function of settings the signature of those settings: every option a keyword, documented.

    `__wrapped__` is the function that takes the settings.
    """

    def decorate(function: Callable[[S], R]) -> Callable[P, R]:
        signature = inspect.signature(settings)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            unknown = [name for name in kwargs if name not in signature.parameters]
            if unknown:
                near = " or ".join(map(repr, get_close_matches(unknown[0], signature.parameters)))
                hint = f"; did you mean {near}?" if near else ""
                raise TypeError(f"{function.__name__}() got an unexpected keyword argument {unknown[0]!r}{hint}")
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{function.__name__}() {error}") from None
            return function(settings(*args, **kwargs))

        returns = inspect.signature(function).return_annotation
        call.__signature__ = signature.replace(return_annotation=returns)  # type: ignore[attr-defined]
        call.__doc__ = documented(inspect.getdoc(function) or "", settings)  # type: ignore[arg-type]  # it is a class
        return call

    return decorate


def documented(text: str, settings: type[Settings]) -> str:
    """Insert a section on the arguments into a docstring, before Returns and Raises."""
    body = re.split(r"(?m)^(?=Returns:|Raises:)", text, maxsplit=1)[0]
    section = ""
    for item in sorted(settings.options(), key=lambda item: not item.positional):
        described = f"{item.name}: {python_words(item.help)}"
        section += textwrap.fill(described, _DOC_WIDTH, initial_indent="    ", subsequent_indent=" " * 8) + "\n"
    return f"{body.rstrip()}\n\nArgs:\n{section}\n{text[len(body) :]}".rstrip() + "\n"


def python_words(help_text: str) -> str:
    """Replace `--some-option` in a help text by `some_option`."""
    return re.sub(r"--(no-)?([a-z][a-z-]*[a-z])", lambda found: found[2].replace("-", "_"), help_text)


def names(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return names, at least one, from a list or a comma-separated text."""
    parts = given.split(",") if isinstance(given, str) else given
    stripped = tuple(str(part).strip() for part in parts if str(part).strip())
    if not stripped:
        raise SeProbeError(f"{given!r} was given for names; expected one or more, separated by commas.")
    return stripped


def numbers(given: str | Sequence[float]) -> tuple[float, ...]:
    """Return numbers from a list or a comma-separated text."""
    values = []
    for part in names(given) if isinstance(given, str) else given:
        try:
            values.append(float(part))
        except (TypeError, ValueError):
            raise SeProbeError(
                f'"{part}" is not a number; expected numbers separated by commas, such as 1,1.5,2.'
            ) from None
    return tuple(int(value) if value.is_integer() else value for value in values)


def number_or_word(text: str) -> int | str:
    """Return a text as a whole number if it is one, else unchanged."""
    return int(text) if re.fullmatch(r"[+-]?\d+", text.strip()) else text.strip()


def jsonable(value: Any) -> Any:
    """Return a value as JSON can hold it; a network in memory is named by its class."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (str, Path)):
        return str(value).encode("utf-8", "backslashreplace").decode()  # File names need not be valid text.
    if isinstance(value, Mapping):
        return {str(key): jsonable(inner) for key, inner in value.items()}
    if isinstance(value, (Sequence, set, frozenset)):
        return [jsonable(item) for item in value]
    return str(getattr(value, "name", type(value).__name__))
