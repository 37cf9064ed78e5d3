"""A damaged or hostile `ablation.zarr` is refused in one line."""

import json
import shutil

import numpy as np
import pytest

import se_probe
from se_probe.ablation.measure import MEASURES, BatchOutcomes
from se_probe.ablation.planning import SiteGroup
from se_probe.ablation.results import AblationWriter
from se_probe.errors import SeProbeError
from se_probe.images import demo_images, select


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


def test_many_outcomes_of_which_some_are_all_alike_are_read_as_they_were_written(tmp_path):
    images = demo_images()
    selection = select(images, images.classes, per_class=100, reference_per_class=0)
    count, interventions = len(selection.entries), 300
    changed = np.random.default_rng(0).random((interventions, len(MEASURES), count))
    changed[:, MEASURES.index("nll")] = np.nan
    measured = BatchOutcomes(tuple(range(count)), changed, np.full((len(MEASURES), count), np.nan), [])
    groups = [SiteGroup(f"group {number}", "sites", ()) for number in range(interventions)]
    facts = {"model": {"name": "network", "weights": "random"}}
    with AblationWriter(tmp_path / "ablation.zarr", groups, "identity", selection, facts) as writer:
        writer.add(measured)
    ablation = se_probe.open_ablation(tmp_path)
    np.testing.assert_array_equal(ablation.outcomes["kl"].values, changed[:, MEASURES.index("kl")])
    assert np.isnan(ablation.outcomes["nll"].values).all()
    assert not ablation.outcomes["labelled"].any()


def test_chunks_of_one_value_may_be_missing_in_the_first_schema(made, tmp_path):
    store = tmp_path / "ablation.zarr"
    shutil.copytree(made, store)
    (store / "outcomes/000000/clean/0.0").unlink()
    changed_json(store / "outcomes/000000/clean/.zarray", fill_value="NaN")
    changed_json(store / ".zattrs", schema=1)
    assert np.isnan(se_probe.open_ablation(store).outcomes["clean_nll"].values).all()
