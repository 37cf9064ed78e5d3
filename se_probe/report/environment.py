"""Jinja environment of the pages: values are escaped, and an undefined variable is an error."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def template_environment() -> Environment:
    """Return the Jinja environment for this package's templates."""
    environment = Environment(
        loader=PackageLoader("se_probe.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.filters["decimals"] = _significant
    return environment


def _significant(number: float) -> str:
    return f"{number:.3f}" if abs(number) >= 0.01 or number == 0 else f"{number:.2g}"
