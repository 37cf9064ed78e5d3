"""A verb in Python: its signature and documentation are those of its settings."""

import inspect
import re

import pytest
from typer.main import get_command

import se_probe
from se_probe.cli import app
from se_probe.runs.options import Settings, option
from se_probe.runs.verb import documented, verb


class Small(Settings):
    """A small verb."""

    what: str | None = option(default=None, help="What to do; see --how-often.", kw_only=False)
    how_often: int = option(default=3, help="How often.", least=1, most=9)


def test_a_verb_has_the_signature_and_documentation_of_its_settings():
    @verb(Small)
    def small(settings: Small) -> str:
        """Do something small.

        Returns:
            What was done.
        """
        return f"{settings.what} {settings.how_often}"

    assert small("x", how_often=2) == "x 2"
    parameters = inspect.signature(small).parameters
    assert next(iter(parameters)) == "what"
    assert parameters["what"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert {item.kind for name, item in parameters.items() if name != "what"} == {inspect.Parameter.KEYWORD_ONLY}
    assert parameters["how_often"].default == 3
    text = inspect.getdoc(small)
    assert text.index("Args:") < text.index("Returns:")
    assert "    what: What to do; see how_often.\n" in text
    assert documented("Do.", Small).startswith("Do.\n\nArgs:\n    what: ")


@pytest.mark.parametrize("name", ["excite", "ablate", "fold", "scale", "compare", "cost"])
def test_every_option_is_on_the_command_line_and_in_python(name):
    function, command = getattr(se_probe, name), get_command(app).commands[name]
    parameters = inspect.signature(function).parameters
    shown = {item.name for item in command.params} - {"verbose", "as_json", "open_report"}
    assert set(parameters) - {"command"} == shown
    text = inspect.getdoc(function)
    for option_name in parameters:
        assert f"    {option_name}: " in text
    assert not re.search(r"--[a-z]", text.partition("Args:")[2].partition("Returns:")[0])


def test_a_wrong_keyword_is_refused_in_the_name_of_the_verb_with_the_nearest_option():
    with pytest.raises(TypeError) as error:
        se_probe.scale(scale=(1, 2))
    assert str(error.value) == "scale() got an unexpected keyword argument 'scale'; did you mean 'scales'?"
    with pytest.raises(TypeError) as error:
        se_probe.excite(zzz=1)
    assert str(error.value) == "excite() got an unexpected keyword argument 'zzz'"
    with pytest.raises(TypeError) as error:
        se_probe.compare()
    assert str(error.value) == "compare() missing a required argument: 'runs'"
