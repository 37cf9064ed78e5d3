"""A damaged or hostile `ablation.zarr` is refused in one line."""

import json
import shutil

import pytest

import se_probe
from se_probe.errors import SeProbeError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablation") / "run"
    few = {"per_class": 1, "reference_per_class": 0, "progress": False, "workers": 0, "report": False}
    se_probe.ablate("goldfish,pug", demo=True, sites=["SE_5_3"], out=folder, **few)
    return folder / "ablation.zarr"


def changed_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


DAMAGE = {
    "no json": (lambda store: (store / ".zattrs").write_text("{"), "expected JSON"),
    "schema": (lambda store: changed_json(store / ".zattrs", schema="1"), "schema '1'"),
    "later": (lambda store: changed_json(store / ".zattrs", schema=99), "schema 99"),
    "rows": (lambda store: changed_json(store / ".zattrs", interventions=[[1, 2, 3, 4]]), "four texts"),
    "provenance": (lambda store: changed_json(store / ".zattrs", provenance={}), "names no model"),
    "object codec": (
        lambda store: changed_json(store / "images/path/.zarray", dtype="|O", filters=[{"id": "pickle"}]),
        "type '|O'",
    ),
    "huge": (lambda store: changed_json(store / "outcomes/000000/place/.zarray", shape=[10**12]), "claims"),
    "chunk": (lambda store: (store / "outcomes/000000/changed/0.0.0").unlink(), "chunks are missing"),
    "no outcomes": (lambda store: shutil.rmtree(store / "outcomes/000000"), "no outcomes"),
    "link": (lambda store: (store / "images/extra").symlink_to("/etc"), "extra"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_was_not_written_is_refused_in_one_line(made, tmp_path, name):
    store = tmp_path / "ablation.zarr"
    shutil.copytree(made, store)
    damage, words = DAMAGE[name]
    damage(store)
    with pytest.raises(SeProbeError) as refused:
        se_probe.open_ablation(store)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_was_written_is_opened(made):
    ablation = se_probe.open_ablation(made.parent)
    assert ablation.complete
    assert len(ablation.interventions) == 1
