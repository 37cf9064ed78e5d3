"""A griffe extension that documents verbs with the options of their settings."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import griffe

_DECORATOR = "verb"
_KINDS: dict[object, griffe.ParameterKind] = {
    inspect.Parameter.POSITIONAL_OR_KEYWORD: griffe.ParameterKind.positional_or_keyword,
    inspect.Parameter.KEYWORD_ONLY: griffe.ParameterKind.keyword_only,
}


class Verbs(griffe.Extension):
    """Gives functions decorated by `se_probe.runs.options.verb` the signature and the docstring that it makes."""

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        """Replace the source's signature and docstring by those of the decorated function."""
        if not any(str(decorator.value).startswith(f"{_DECORATOR}(") for decorator in func.decorators):
            return
        made = getattr(import_module(func.module.path), func.name)
        func.docstring = griffe.Docstring(inspect.getdoc(made) or "", parent=func, parser="google")
        func.parameters = griffe.Parameters(*(_parameter(item) for item in inspect.signature(made).parameters.values()))


def _parameter(item: inspect.Parameter) -> griffe.Parameter:
    default = None if item.default is inspect.Parameter.empty else repr(item.default)
    return griffe.Parameter(item.name, annotation=str(item.annotation), kind=_KINDS[item.kind], default=default)
