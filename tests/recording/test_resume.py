"""Stopped and killed runs go on where they were: nothing twice, nothing lost, the same recording in the end."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from se_probe.errors import SeProbeError
from se_probe.gates import find_gates
from se_probe.images import open_images, select
from se_probe.labels import label_space_from_names
from se_probe.recording import is_incomplete, open_recording, provenance_of, record, verify
from se_probe.recording.resume import differences
from tests.recording.small import CLASSES, IMAGES, SHARD, assert_same, draw_images, run, small_model

ROOT = Path(__file__).resolve().parents[2]
SELECTED = len(CLASSES) * IMAGES


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    torch.set_num_threads(1)
    return draw_images(tmp_path_factory.mktemp("small") / "data")


@pytest.fixture(scope="module")
def expected(data, tmp_path_factory):
    return run(data, tmp_path_factory.mktemp("expected") / "recording.zarr")


def stop_after(images):
    """Return a `progress` that interrupts once that many images are done."""
    done = [0]

    def progress(count):
        done[0] += count
        if done[0] >= images:
            raise KeyboardInterrupt

    return progress


def stopped(data, path, images, **options):
    with pytest.raises(KeyboardInterrupt):
        run(data, path, progress=stop_after(images), **options)
    assert is_incomplete(path)


@pytest.mark.parametrize("images", [1, 8, 30, 60])
def test_a_stopped_run_continues_and_ends_the_same(data, expected, tmp_path, images):
    path, lines, decoded = tmp_path / "recording.zarr", [], []
    stopped(data, path, images)
    partial = open_recording(path)
    held = len(partial.images) + len(partial.skipped)
    left = SELECTED - held
    assert held >= images
    decodable = left - ("beta/007.png" not in partial.skipped["path"].tolist())
    model = small_model()

    class Counting:
        def __call__(self, image, then=model.transform):
            decoded.append(image)
            return then(image)

    counting = type(model)(**{**vars(model), "transform": Counting()})
    recording = run(data, path, model=counting, resume=True, say=lines.append)
    assert_same(recording, expected)
    assert len(decoded) == decodable
    assert lines == [f"resume    {held} of {SELECTED} images are recorded in {path}; {left} are left"]
    assert verify(path).problems == ()


def test_batch_size_and_workers_may_change(data, expected, tmp_path):
    path = tmp_path / "recording.zarr"
    stopped(data, path, 22)
    recording = run(data, path, resume=True, batch_size=7, workers=1, shard_images=5)
    assert_same(recording, expected, atol=1e-6)
    (entry,) = recording.provenance["resumed"]
    assert entry["command"] == "test"
    assert entry["versions"] == recording.provenance["versions"]


class Stream:
    """The images of a folder, one after the other."""

    def __init__(self, root, paths) -> None:
        self.root, self.paths = root, paths

    def stream(self):
        return (partial(Image.open, self.root / path) for path in self.paths)


def test_a_stream_goes_on_where_it_was(data, expected, tmp_path, monkeypatch):
    def streamed(root, labels):
        images = open_images(root, labels)
        return replace(images, source=Stream(root, [sample.path for sample in images.samples]))

    monkeypatch.setattr("tests.recording.small.open_images", streamed)
    path = tmp_path / "recording.zarr"
    stopped(data, path, 22)
    assert_same(run(data, path, resume=True), expected)


def test_a_complete_run_says_so_and_stays(data, expected, tmp_path):
    path, lines, done = tmp_path / "recording.zarr", [], []
    run(data, path)
    before = {item: item.read_bytes() for item in path.rglob("*") if item.is_file()}
    recording = run(data, path, resume=True, say=lines.append, progress=done.append)
    assert lines == [f"resume    {path} is complete already: nothing is left to record"]
    assert done == [SELECTED]
    assert_same(recording, expected)
    assert {item: item.read_bytes() for item in path.rglob("*") if item.is_file()} == before


def test_resuming_nothing_starts(data, expected, tmp_path):
    lines = []
    recording = run(data, tmp_path / "recording.zarr", resume=True, say=lines.append)
    assert lines == [f"resume    nothing was recorded at {recording.path} yet; starting"]
    assert_same(recording, expected)


def test_nothing_is_overwritten_without_being_asked(data, tmp_path):
    path = tmp_path / "recording.zarr"
    stopped(data, path, 8)
    message = f"{path} already exists; continue it with resume=True, or choose another path."
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        run(data, path)


def test_changed_settings_are_refused_by_name(data, tmp_path):
    path = tmp_path / "recording.zarr"
    stopped(data, path, 8)
    before = small_model().weights_sha256
    other = small_model(1)
    changes = {
        "model.weights_sha256": {"model": other},
        "settings.capture": {"capture": ["logit"]},
        "data.seed": {"seed": 1},
    }
    for key, change in changes.items():
        with pytest.raises(SeProbeError) as caught:
            run(data, path, resume=True, **change)
        message = str(caught.value)
        assert message.startswith(f"{path} was recorded with other settings and cannot be continued: ")
        assert message.endswith(". Give the former settings, or start again with --overwrite.")
        assert f"{key}: was " in message
    with pytest.raises(SeProbeError, match=f'weights_sha256: was "{before}", now "{other.weights_sha256}"'):
        run(data, path, resume=True, model=other)
    assert len(open_recording(path).images) >= 8


def test_changed_data_are_refused(data, tmp_path):
    other = draw_images(tmp_path / "data")
    path = tmp_path / "recording.zarr"
    stopped(other, path, 8)
    (other / "alpha" / "000.png").rename(other / "alpha" / "zzz.png")
    with pytest.raises(SeProbeError, match=r"data\.selection_sha256: was .+, now .+"):
        run(other, path, resume=True)


def test_differences_are_named_with_dots():
    before = {"model": {"name": "a", "size": [1, 2]}, "same": 1, "gone": True}
    now = {"model": {"name": "b", "size": [1, 3]}, "same": 1, "new": None, "added": 2}
    assert differences(before, now) == [
        'model.name: was "a", now "b"',
        "model.size: was [1, 2], now [1, 3]",
        "gone: was true, now null",
        "added: was null, now 2",
    ]


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_shard_is_found_named_and_recorded_again(data, expected, tmp_path, damage):
    path, lines = tmp_path / "recording.zarr", []
    stopped(data, path, 40)
    shard = sorted((path / "shards").glob("*.safetensors"))[2]
    content = bytearray(shard.read_bytes())
    if damage == "flipped":
        content[-20] ^= 1
    shard.write_bytes({"flipped": content, "cut": content[:-9], "empty": b""}[damage])
    with pytest.raises(SeProbeError, match=f"^the shard {re.escape(str(shard))} is damaged: "):
        open_recording(path)
    problems = verify(path).problems
    assert problems[0].startswith(f"the shard {shard} is damaged: ")
    recording = run(data, path, resume=True, say=lines.append)
    assert lines[0].endswith("; it was removed and its images are recorded again")
    assert lines[1].endswith(f"; {SELECTED - 40 + SHARD} are left")
    assert_same(recording, expected)


def test_a_class_of_which_nothing_could_be_recorded_stays_resumable(data, tmp_path):
    other = draw_images(tmp_path / "data")
    for image in (other / "alpha").iterdir():
        image.write_bytes(b"")
    for resume in (False, True):
        with pytest.raises(SeProbeError, match=r"^none of the images of alpha could be recorded \(.*empty.*\); "):
            run(other, tmp_path / "recording.zarr", resume=resume)


@pytest.mark.parametrize("options", [(), ("--overwrite",)])
def test_killed_at_random_points(options):
    """More seeds: `python -m tests.recording.killed --seeds 200`."""
    command = [sys.executable, "-m", "tests.recording.killed", "--seeds", "8", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kills = json.loads(done.stdout)["kills"]
    assert len(kills) == 8
    assert sum(kills.values()) >= 4


def test_one_run_at_a_time_writes_a_recording(data, tmp_path):
    """Another run, of this process or of another, is refused while one records; nothing of the first is lost."""
    path = tmp_path / "recording.zarr"
    program = (
        "import sys; from pathlib import Path; from tests.recording.killed import replace_run\n"
        "from se_probe.errors import SeProbeError\n"
        "try: replace_run(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "except SeProbeError as error: print(error)"
    )
    said = []

    def other(images):
        if images and not said:
            with pytest.raises(SeProbeError, match=r"another run is writing .*recording\.zarr"):
                run(data, path, resume=True)
            command = [sys.executable, "-c", program, str(data), str(tmp_path)]
            said.append(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)

    recording = run(data, path, progress=other)
    assert said[0].startswith(f"another run is writing {path} at this moment; wait for its end, or choose another")
    assert verify(recording.path).sound
    assert not list(tmp_path.glob(".*"))


def test_a_shard_of_another_run_is_recorded_again(data, expected, tmp_path):
    path, other, lines = tmp_path / "recording.zarr", tmp_path / "other.zarr", []
    stopped(data, path, 30)
    stopped(data, other, 30, model=small_model())
    shutil.copy(other / "shards" / "000000008.safetensors", path / "shards")
    with pytest.raises(SeProbeError, match=r"000000008\.safetensors belongs to another run"):
        open_recording(path)
    assert "belongs to another run" in verify(path).problems[0]
    assert_same(run(data, path, resume=True, say=lines.append), expected)
    assert "belongs to another run" in lines[0]


def test_changed_contents_are_refused_by_name(tmp_path):
    images, path = draw_images(tmp_path / "data"), tmp_path / "recording.zarr"
    stopped(images, path, 8)
    Image.new("RGB", (16, 16)).save(images / "alpha" / "003.png")
    with pytest.raises(SeProbeError, match=r"alpha/003\.png has changed since it was recorded .*--overwrite"):
        run(images, path, resume=True)
    assert len(open_recording(path).images) == 8


def test_a_skipped_image_that_was_repaired_is_recorded(tmp_path):
    images, path, lines = draw_images(tmp_path / "data"), tmp_path / "recording.zarr", []
    stopped(images, path, 40)
    assert len(open_recording(path).skipped) == 1
    Image.new("RGB", (16, 16)).save(images / "beta" / "007.png")
    recording = run(images, path, resume=True, say=lines.append)
    assert lines[0].startswith("resume    the shard of beta/007.png, which was skipped and has changed since; it was ")
    assert recording.skipped.empty
    assert verify(path).sound


def test_a_class_that_the_network_does_not_know_is_recorded(data, tmp_path):
    """A folder among those of known classes whose name is no label of the network."""
    root = shutil.copytree(data, tmp_path / "data")
    known = small_model()
    labels = label_space_from_names(["alpha", "beta"], title="two of three")
    model = replace(known, labels=labels)
    images = open_images(root, labels)
    assert [item.index for item in images.classes] == [0, 1, None]
    path = tmp_path / "recording.zarr"
    selection = select(images, images.classes[1:], per_class=50, reference_per_class=50, seed=0)
    facts = provenance_of(model, selection, command="test", settings={}, spatial_maps={}, demo=False)
    sites = find_gates(model.network, model.input_size)
    with pytest.raises(KeyboardInterrupt):
        record(model, sites, selection, path, provenance=facts, batch_size=4, shard_images=8, progress=stop_after(30))
    recording = record(model, sites, selection, path, provenance=facts, batch_size=4, resume=True)
    assert recording.chosen == ["beta", "gamma"]
    assert recording.classes["index"].isna().tolist() == [False, False, True]
    assert recording.images["class_index"].isna().sum() == IMAGES
    assert recording.images.loc[recording.images["class"] == "gamma", "class_probability"].isna().all()
    assert verify(path).sound


def test_gates_of_a_resumed_run_are_those_of_a_raw_forward_pass(data, tmp_path):
    """Independent of the package's own comparison: batches of the whole class through the network itself."""
    path = tmp_path / "recording.zarr"
    stopped(data, path, 10)
    recording = run(data, path, resume=True)
    model = small_model()
    caught = []
    handle = model.network.first[1].fc.register_forward_hook(lambda _m, _i, output: caught.append(output.sigmoid()))
    names = [f"{index:03d}.png" for index in range(IMAGES)]
    with torch.no_grad():
        model.network(torch.stack([model.transform(Image.open(data / "alpha" / name)) for name in names]))
    handle.remove()
    gates = recording.gates(recording.sites[0].name)
    np.testing.assert_allclose(gates[gates["class"] == "alpha"], caught[0].numpy(), atol=1e-6)
