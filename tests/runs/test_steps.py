"""Checkpoints and sweeps end to end, on a small network and noise."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from se_probe.errors import SeProbeError
from se_probe.recording import open_recording
from se_probe.runs.excite import excite
from se_probe.runs.settings import ExciteSettings
from se_probe.runs.steps import steps_of
from tests.runs.noise import QUIET, draw_noise

FEW = {"reference_per_class": 0, "exact": True, **QUIET}
NETWORK = """
import torch
from tests.recording.small import SmallNetwork

def net(scale=20.0):
    torch.manual_seed(0)
    network = SmallNetwork().eval()
    with torch.no_grad():
        for module in (network.first[1], network.second[1]):
            module.fc.weight *= scale
    return network
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("steps")
    (root / "net.py").write_text(NETWORK)
    nearest = Image.Resampling.NEAREST
    draw_noise(root / "images", ("alpha", "beta"), 14, (20, 20), cells=(4, 4), resample=nearest)
    torch.set_num_threads(1)
    scope = {}
    exec(NETWORK, scope)
    state = scope["net"]().state_dict()
    for epoch, share in ((9, 1.0), (10, 0.5), (100, 0.0)):
        shrunk = {key: value * share if ".fc." in key else value for key, value in state.items()}
        torch.save(shrunk, root / f"epoch-{epoch}.pt")
    return root


def run(folder, out, **options):
    return excite("alpha,beta", data=folder / "images", model=f"{folder}/net.py:net", out=out, **FEW | options)


@pytest.fixture(scope="module")
def checkpoints(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    return run(folder, out, checkpoints=f"{folder}/epoch-*.pt"), out


def test_every_checkpoint_is_recorded_over_the_same_images(checkpoints, folder, tmp_path):
    last, out = checkpoints
    assert [path.name for path in sorted(out.glob("step-*"))] == ["step-epoch-10", "step-epoch-100", "step-epoch-9"]
    assert last.path == out / "step-epoch-100" / "recording.zarr"
    alone = run(folder, tmp_path / "alone", checkpoint=folder / "epoch-10.pt", report=False)
    recorded = open_recording(out / "step-epoch-10")
    assert recorded.images["path"].tolist() == alone.images["path"].tolist()
    for site in alone.sites:
        np.testing.assert_array_equal(recorded.gates(site.name), alone.gates(site.name))


def test_the_collapse_is_dated(checkpoints):
    _, out = checkpoints
    sites = pd.read_csv(out / "tables" / "steps_sites.csv")
    assert sites["label"].unique().tolist() == ["epoch-9", "epoch-10", "epoch-100"]
    assert sites["step"].unique().tolist() == [9, 10, 100]
    events = pd.read_csv(out / "tables" / "steps_events.csv")
    live = sites[(sites["label"] == "epoch-10") & (sites["verdict"] == "live")]["site"]
    dated = events.set_index("site").loc[live]
    assert (dated["first_label"] == "epoch-100").all()
    assert (dated["verdict"] == "collapsed").all()
    assert len(live)
    page = (out / "report.html").read_text()
    assert "collapsed at epoch-100" in page
    assert (out / "figures" / "steps.svg").exists()


def test_a_sweep_has_a_network_for_each_value(folder, tmp_path):
    run(folder, tmp_path / "run", sweep="scale=1,30.5")
    sites = pd.read_csv(tmp_path / "run" / "tables" / "steps_sites.csv")
    assert sites[["label", "step"]].drop_duplicates().to_numpy().tolist() == [["scale=1", 1.0], ["scale=30.5", 30.5]]
    spread = sites.pivot(index="site", columns="label", values="sd")
    assert (spread["scale=30.5"] > spread["scale=1"]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checkpoints": "/nowhere/*.pt"}, "--checkpoints /nowhere/*.pt names 0 files; expected two or more"),
        ({"checkpoints": "*.pt", "sweep": "a=1,2"}, "--checkpoints and --sweep or --checkpoint were given"),
        ({"sweep": "a=1"}, "--sweep a=1 was given; expected KEY=VALUE,VALUE with two or more different values"),
        ({"sweep": "a=1,1"}, "--sweep a=1,1 was given"),
        ({"sweep": "1a=1,2"}, 'model argument "1a=1" is not of the form key=value'),
    ],
)
def test_steps_that_cannot_be_made(options, message):
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}"):
        steps_of(ExciteSettings(**options))
