"""The names that `import se_probe` gives: each is there, and is what its home defines."""

import ast
from importlib import import_module
from pathlib import Path
from types import ModuleType

import se_probe

STUB = ast.parse(Path(se_probe.__file__).with_suffix(".pyi").read_text())


def test_every_name_of_the_stub_is_what_its_home_defines():
    imports = [node for node in STUB.body if isinstance(node, ast.ImportFrom)]
    names = [(node.module, item.name, item.asname) for node in imports for item in node.names]
    assert len(names) > 30
    for home, name, public in names:
        assert name == public
        if home is None:
            assert isinstance(getattr(se_probe, name), ModuleType)
        else:
            assert getattr(se_probe, name) is getattr(import_module(f"se_probe.{home}"), name)
    assert {name for _, name, _ in names} <= set(dir(se_probe))
