"""Make the function of a verb from its settings: every option a keyword, with its type, default and documentation."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from se_probe.runs.options import Settings

P = ParamSpec("P")
S = TypeVar("S", bound=Settings)
R = TypeVar("R")

_DOC_WIDTH = 112


def verb(settings: Callable[P, S]) -> Callable[[Callable[[S], R]], Callable[P, R]]:
    """Give a function of settings the signature of those settings: every option a keyword, documented.

    The function of the settings themselves stays reachable as `__wrapped__`.
    """

    def decorate(function: Callable[[S], R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return function(settings(*args, **kwargs))

        returns = inspect.signature(function).return_annotation
        call.__signature__ = inspect.signature(settings).replace(return_annotation=returns)  # type: ignore[attr-defined]
        call.__doc__ = documented(inspect.getdoc(function) or "", settings)  # type: ignore[arg-type]  # it is a class
        return call

    return decorate


def documented(text: str, settings: type[Settings]) -> str:
    """Return a docstring with a section on the arguments, before what the function returns and raises."""
    body, section, rest = re.split(r"(?m)^(?=Returns:|Raises:)", text, maxsplit=1)[0], "", ""
    rest = text[len(body) :]
    for item in sorted(settings.options(), key=lambda item: not item.positional):
        described = f"{item.name}: {python_words(item.option.help)}"
        section += textwrap.fill(described, _DOC_WIDTH, initial_indent="    ", subsequent_indent=" " * 8) + "\n"
    return f"{body.rstrip()}\n\nArgs:\n{section}\n{rest}".rstrip() + "\n"


def python_words(help_text: str) -> str:
    """Return a help text with options named as Python names them."""
    return re.sub(r"--(no-)?([a-z][a-z-]*[a-z])", lambda found: found[2].replace("-", "_"), help_text)
