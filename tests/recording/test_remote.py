"""Recordings in stores that fsspec reaches: up whole, down again, and nothing half."""

import re
from contextlib import chdir

import fsspec
import pytest
import torch
import xarray as xr

import se_probe
from se_probe.errors import SeProbeError
from se_probe.recording import open_recording
from se_probe.recording.remote import copy_up
from tests.recording.small import SmallNetwork, assert_same, draw_images
from tests.told import told


@pytest.fixture(scope="module")
def store():
    """Return a store in memory."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


@pytest.fixture(scope="module")
def finished(tmp_path_factory, store):
    """A run that was requested at a URL, and the lines that it said."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("finished")
    data = draw_images(folder / "data")
    torch.manual_seed(0)
    quiet = {"progress": False, "report": False, "workers": 0}
    with chdir(folder), told() as lines:
        recording = se_probe.excite(
            "alpha,beta", data=data, model=SmallNetwork().eval(), name="mine", out="memory://bucket/run", **quiet
        )
        return open_recording(recording.path.resolve()), lines


def test_a_run_goes_up_whole_and_comes_down_the_same(finished, store):
    recording, lines = finished
    assert lines[-1] == "copied    reports/mine to memory://bucket/run"
    assert store.exists("/bucket/run/run.json")
    assert store.exists("/bucket/run/figures/role_of_excitation.pdf")
    for url in ("memory://bucket/run", "memory://bucket/run/", "memory://bucket/run/recording.zarr"):
        again = open_recording(url)
        assert_same(again, recording)
        assert again.provenance == recording.provenance
    lazily = xr.open_dataset("memory://bucket/run/recording.zarr", group="gates/SE_2_1", engine="zarr", chunks=None)
    assert lazily["gate"].shape == (39, 6)


def test_what_lies_there_is_replaced_only_when_asked(finished, tmp_path):
    message = (
        "memory://bucket/run already holds a run; choose another place with --out, or replace it with --overwrite."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        se_probe.excite(model="demo:se", out="memory://bucket/run")


def test_file_urls_and_what_an_earlier_run_has_left(finished, tmp_path):
    recording, _ = finished
    url, left = (tmp_path / "up").as_uri(), tmp_path / "up" / "recording.zarr" / "gates" / "SE_9_9" / "0.0"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of an earlier network")
    copy_up(recording.path.parent, url, "recording.zarr")
    assert_same(open_recording(url), recording)
    assert not left.exists()


def test_a_copy_that_breaks_off_is_no_recording(finished, monkeypatch, store):
    recording, _ = finished
    put, sent = type(store).put_file, []

    def break_off(self, local, remote, **options):
        sent.append(remote)
        if len(sent) == 30:
            raise OSError("the network is down")
        put(self, local, remote, **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "put_file", break_off)
        message = (
            "memory://bucket/half cannot be reached (the network is down); expected a URL that fsspec knows, its "
            "package and your permission."
        )
        with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
            copy_up(recording.path.parent, "memory://bucket/half", "recording.zarr")
    with pytest.raises(SeProbeError, match="holds no recording"):
        open_recording("memory://bucket/half")
    copy_up(recording.path.parent, "memory://bucket/half", "recording.zarr")
    assert_same(open_recording("memory://bucket/half"), recording)


@pytest.mark.parametrize("url", ["nonsense://bucket/run", "memory://nothing/here"])
def test_nothing_there(url, store):
    with pytest.raises(SeProbeError, match=rf"^{url} (cannot be reached \(.+\)|holds no recording); expected "):
        open_recording(url)


def test_no_file_of_a_store_leads_out_of_the_copy(tmp_path, monkeypatch, store):
    store.pipe_file("/bucket/strange/.zattrs", b"{}")
    listing = {"/bucket/strange/.zattrs": {"size": 2}, "/bucket/strange/../../escape": {"size": 2}}
    monkeypatch.setattr(type(store), "find", lambda self, root, detail: listing)
    message = (
        "memory://bucket/strange lists a file '/bucket/strange/../../escape', which leads out of it; it is not copied."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        open_recording("memory://bucket/strange")


def test_a_store_larger_than_the_disk_is_not_copied(monkeypatch, store):
    listing = {"/bucket/strange/.zattrs": {"size": 2}, "/bucket/strange/gates/0": {"size": 10**18}}
    monkeypatch.setattr(type(store), "find", lambda self, root, detail: listing)
    with pytest.raises(SeProbeError, match=r"has 1,000,000,000,000,000,002 bytes, but only [\d,]+ are free"):
        open_recording("memory://bucket/strange")
