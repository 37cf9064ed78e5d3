"""Options: declared once, checked, and the same in Python, on the command line and for resuming."""

import inspect
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.main import get_command

import se_probe
from se_probe.cli import app
from se_probe.errors import SeProbeError
from se_probe.runs.options import OnResume, Settings, documented, names, numbers, option, verb
from se_probe.runs.plot import plot
from se_probe.runs.settings import AblateSettings, CostSettings, ExciteSettings, FoldSettings, ScaleSettings


class Small(Settings):
    """A small verb."""

    what: str | None = option(default=None, help="What to do; see --how-often.", kw_only=False)
    how_often: int = option(default=3, help="How often.", least=1, most=9, on_resume=OnResume.FREE)
    ratio: float = option(default=0.5, help="Ratio.", above=0, most=1)
    kind: str = option(default="plain", help="Kind.", choices=("plain", "fancy"))
    parts: Sequence[str] | None = option(default=None, help="Parts.", read=names)
    quiet: bool = option(default=False, help="Say nothing.", on_resume=OnResume.SHOWN)
    loud: bool = option(default=True, help="Say much.", on_resume=OnResume.SHOWN)
    place: Path | None = option(default=None, help="Place.", on_resume=OnResume.PLACE)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"how_often": 0}, "--how-often 0 was given; expected a whole number from 1 to 9."),
        ({"how_often": 10**20}, f"--how-often {10**20} was given; expected a whole number from 1 to 9."),
        ({"how_often": 2.5}, "--how-often 2.5 was given; expected a whole number from 1 to 9."),
        ({"how_often": True}, "--how-often True was given; expected a whole number from 1 to 9."),
        ({"how_often": "3"}, "--how-often 3 was given; expected a whole number from 1 to 9."),
        ({"ratio": 0}, "--ratio 0 was given; expected a number above 0 and up to 1."),
        ({"ratio": float("nan")}, "--ratio nan was given; expected a number above 0 and up to 1."),
        ({"kind": "odd"}, "--kind odd was given; expected one of plain, fancy."),
        ({"what": " "}, "--what ' ' was given; expected a text of 1 to 4,096 characters, or leave it out."),
        ({"what": "a\0b"}, r"--what 'a\x00b' was given; expected a text of 1 to 4,096 characters, or leave it out."),
        ({"parts": ","}, "',' was given for names; expected one or more, separated by commas."),
    ],
)
def test_values_out_of_range_are_refused(given, message):
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        Small(**given)


def test_values_are_kept_as_plain_ones():
    made = Small("x", how_often=np.int64(4), parts="a, b,")
    assert type(made.how_often) is int
    assert made.parts == ("a", "b")
    assert made == Small("x", how_often=4, parts=["a", "b"])
    with pytest.raises(AttributeError):
        made.how_often = 5


def test_what_is_kept_of_settings_by_their_role():
    made = Small("x", how_often=4, place=Path("here"), parts=("a",))
    assert made.kept(OnResume.FREE) == {"how_often": 4}
    assert made.kept(OnResume.PLACE) == {"place": "here"}
    assert made.kept(OnResume.IDENTITY) == {"what": "x", "ratio": 0.5, "kind": "plain", "parts": ["a"]}
    json.dumps(made.kept(*OnResume))


def test_the_command_and_the_call_give_the_same_settings():
    made = Small("it's", how_often=4, parts=("a", "b"), quiet=True, loud=False)
    words = shlex.split(made.command_line())
    assert words[:2] == ["se-probe", "small"]
    assert words[words.index("--what") + 1] == "it's"
    assert {"--quiet", "--no-loud"} <= set(words)
    call = made.call()
    assert eval(call.replace("se_probe.small", "Small")) == made


def test_a_network_in_memory_is_left_to_the_reader():
    assert ExciteSettings(model=torch.nn.Identity(), per_class=3).call() == ("se_probe.excite(model=..., per_class=3)")


def test_numbers():
    assert numbers("4, 8,1.5") == (4, 8, 1.5)
    with pytest.raises(SeProbeError, match='"many" is not a number'):
        numbers("4,many")


def test_options_that_several_verbs_share_are_the_same():
    shared = ("data", "demo", "seed", "checkpoint", "random_weights", "workers", "device", "overwrite", "name")
    for name in shared:
        declared = {str(item) for kind in (ExciteSettings, AblateSettings, FoldSettings, ScaleSettings)
                    for item in kind.options() if item.name == name}  # fmt: skip
        assert len(declared) == 1
    assert {item.name for item in CostSettings.options()} >= {"input_size", "model_args", "progress"}


@pytest.mark.parametrize(
    ("given", "demo", "network"),
    [
        ({}, False, "default"),
        ({"demo": True}, True, "demo:se"),
        ({"model": "demo:sk"}, True, "demo:sk"),
        ({"model": "demo:sk", "data": "here"}, False, "demo:sk"),
        ({"model": "skresnet18", "demo": True}, True, "skresnet18"),
    ],
)
def test_the_demo(given, demo, network):
    made = ExciteSettings(**given)
    assert (made.uses_demo, made.network("default")) == (demo, network)
    assert ScaleSettings(demo=True).network("default") == "demo:sk"


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


VERBS = ["excite", "ablate", "maps", "fold", "change", "scale", "compare", "cost", "look"]


@pytest.mark.parametrize("name", VERBS)
def test_every_option_is_on_the_command_line_and_in_python(name):
    function, command = getattr(se_probe, name), get_command(app).commands[name]
    parameters = inspect.signature(function).parameters
    shown = {item.name for item in command.params} - {"verbose", "as_json", "open_report"}
    assert set(parameters) - {"command"} == shown
    text = inspect.getdoc(function)
    for option_name in parameters:
        assert f"    {option_name}: " in text
    assert not re.search(r"--[a-z]", text.partition("Args:")[2].partition("Returns:")[0])


@pytest.mark.parametrize("function", [*(getattr(se_probe, name) for name in VERBS), plot], ids=[*VERBS, "plot"])
def test_a_wrong_keyword_is_refused_in_the_name_of_the_verb(function):
    with pytest.raises(TypeError) as error:
        function(zzz=1)
    assert str(error.value) == f"{function.__name__}() got an unexpected keyword argument 'zzz'"


def test_a_wrong_keyword_is_refused_with_the_nearest_option():
    with pytest.raises(TypeError) as error:
        se_probe.scale(scale=(1, 2))
    assert str(error.value) == "scale() got an unexpected keyword argument 'scale'; did you mean 'scales'?"
    with pytest.raises(TypeError) as error:
        se_probe.maps("run", channel=[3])
    assert str(error.value) == "maps() got an unexpected keyword argument 'channel'; did you mean 'channels'?"
    with pytest.raises(TypeError) as error:
        se_probe.compare()
    assert str(error.value) == "compare() missing a required argument: 'runs'"
