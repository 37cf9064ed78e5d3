"""Make the function of a verb from its settings: every option a keyword, with its type, default and documentation."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from difflib import get_close_matches
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
        signature = inspect.signature(settings)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                near = [match for name in kwargs if name not in signature.parameters
                        for match in get_close_matches(name, signature.parameters, n=1)]  # fmt: skip
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise TypeError(f"{function.__name__}() {error}{hint}") from None
            return function(settings(*args, **kwargs))

        returns = inspect.signature(function).return_annotation
        call.__signature__ = signature.replace(return_annotation=returns)  # type: ignore[attr-defined]
        call.__doc__ = documented(inspect.getdoc(function) or "", settings)  # type: ignore[arg-type]  # it is a class
        return call

    return decorate


def documented(text: str, settings: type[Settings]) -> str:
    """Return a docstring with a section on the arguments, before what the function returns and raises."""
    body = re.split(r"(?m)^(?=Returns:|Raises:)", text, maxsplit=1)[0]
    section = ""
    for item in sorted(settings.options(), key=lambda item: not item.positional):
        described = f"{item.name}: {python_words(item.help)}"
        section += textwrap.fill(described, _DOC_WIDTH, initial_indent="    ", subsequent_indent=" " * 8) + "\n"
    return f"{body.rstrip()}\n\nArgs:\n{section}\n{text[len(body) :]}".rstrip() + "\n"


def python_words(help_text: str) -> str:
    """Return a help text with options named as Python names them."""
    return re.sub(r"--(no-)?([a-z][a-z-]*[a-z])", lambda found: found[2].replace("-", "_"), help_text)
