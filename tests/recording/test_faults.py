"""What can go wrong while a run is under way: signals, disks, workers, memory and NaN. Nothing recorded is lost."""

import os
import re
import signal
import subprocess
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import get_worker_info

from se_probe.errors import InterruptedRun, SeProbeError
from se_probe.models import LoadedModel, model_of
from se_probe.recording import is_incomplete, open_recording, verify
from tests.recording.small import CLASSES, IMAGES, SmallNetwork, assert_same, draw_images, run, small_model

SELECTED = len(CLASSES) * IMAGES


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    torch.set_num_threads(1)
    return draw_images(tmp_path_factory.mktemp("small") / "data")


@pytest.fixture(scope="module")
def expected(data, tmp_path_factory):
    return run(data, tmp_path_factory.mktemp("expected") / "recording.zarr")


def changed(network: torch.nn.Module) -> LoadedModel:
    """Return another network with the weights of the small one, under its name."""
    network.load_state_dict(small_model().network.state_dict())
    return model_of(network.eval(), "SmallNetwork")


def with_transform(transform) -> LoadedModel:
    return LoadedModel(**{**vars(small_model()), "transform": transform})


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGINT, 1)])
def test_a_signal_finishes_the_batch_and_the_run_is_resumable(data, expected, tmp_path, number, workers):
    path, done = tmp_path / "recording.zarr", []

    def progress(images):
        done.append(images)
        if sum(done) == 12:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(InterruptedRun) as caught:
        run(data, path, progress=progress, workers=workers)
    assert str(caught.value) == f"stopped by {number.name}; what was recorded is in {path}"
    assert caught.value.signal == number
    assert isinstance(caught.value, KeyboardInterrupt)
    assert signal.getsignal(number) is before
    assert sum(done) == 12
    assert len(open_recording(path).images) == 12
    assert_same(run(data, path, resume=True), expected)


class Slow:
    """A transform that signals the run's process and its worker at the tenth image."""

    def __init__(self, number) -> None:
        self.then = small_model().transform
        self.number = number
        self.main = os.getpid()
        self.seen = 0

    def __call__(self, image):
        self.seen += 1
        if self.seen == 10 and get_worker_info() is not None:
            for process in (self.main, os.getpid()):
                os.kill(process, self.number)
        return self.then(image)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_workers_too(data, expected, tmp_path, number):
    """A terminal and a batch system signal all processes of a run; SIGTERM ends the worker."""
    path = tmp_path / "recording.zarr"
    with pytest.raises(InterruptedRun, match=f"^stopped by {number.name}; "):
        run(data, path, model=with_transform(Slow(number)), workers=1)
    assert_same(run(data, path, resume=True), expected)


@pytest.fixture
def interruptible():
    """Take SIGINT as a terminal gives it: a process that a script started in the background may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_second_interrupt_does_not_wait(data, tmp_path):
    def interrupt():
        before = signal.getsignal(signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        # Python comes to a signal when it can; two at once would be one.
        while signal.getsignal(signal.SIGINT) is before:
            time.sleep(0.001)

    def progress(images):
        for _ in range(2 if images else 0):
            interrupt()

    with pytest.raises(KeyboardInterrupt) as caught:
        run(data, tmp_path / "recording.zarr", progress=progress)
    assert not isinstance(caught.value, InterruptedRun)
    assert is_incomplete(tmp_path / "recording.zarr")


def test_outside_the_main_thread_signals_are_left_alone(data, expected, tmp_path):
    recordings = []
    thread = threading.Thread(target=lambda: recordings.append(run(data, tmp_path / "recording.zarr")))
    thread.start()
    thread.join()
    assert_same(recordings[0], expected)


@pytest.fixture
def small_disk(tmp_path):
    """Return a function that gives a folder its own file system of some size, or changes it."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> None:
        again = "remount," if os.path.ismount(place) else ""
        command = ["mount", "-t", "tmpfs", "-o", again + options, "tmpfs", str(place)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting a tmpfs needs root")

    mount.place = place
    yield mount
    if os.path.ismount(place):
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("size", ["40k", "160k", "240k"])
def test_a_full_disk_loses_nothing_that_was_written(data, expected, small_disk, size):
    """The shards do not fit, or they do and their merge does not."""
    small_disk(f"size={size}")
    path = small_disk.place / "recording.zarr"
    message = (
        f"cannot write {path}: No space left on device; what was recorded before is kept. Make room or permit writing "
        "and continue with --resume, or choose another folder with --out."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        run(data, path)
    held = len(open_recording(path).images)
    assert held >= (59 if size == "240k" else 8)
    small_disk("size=10m")
    assert_same(run(data, path, resume=True), expected)
    assert verify(path).sound


def test_a_read_only_disk(data, expected, small_disk):
    small_disk("size=10m,ro")
    path = small_disk.place / "recording.zarr"
    with pytest.raises(SeProbeError, match=f"^cannot write {re.escape(str(path))}: Read-only file system; "):
        run(data, path)
    small_disk("size=10m,rw")

    def progress(images):
        if images:
            small_disk("size=10m,ro")

    with pytest.raises(SeProbeError, match=f"^cannot write {re.escape(str(path))}: Read-only file system; "):
        run(data, path, progress=progress)
    small_disk("size=10m,rw")
    assert_same(run(data, path, resume=True), expected)


class Dying:
    """A transform whose worker process is killed at its tenth image."""

    def __init__(self) -> None:
        self.then = small_model().transform
        self.seen = 0

    def __call__(self, image):
        self.seen += 1
        if self.seen == 10 and get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.then(image)


def test_a_worker_that_dies(data, expected, tmp_path):
    path = tmp_path / "recording.zarr"
    message = (
        r"^a process that decodes images died \(.+\); the system kills them where memory runs "
        rf"short\. What was recorded is kept in {re.escape(str(path))}: continue with --resume, and with fewer "
        r"--workers if it happens again\.$"
    )
    with pytest.raises(SeProbeError, match=message):
        run(data, path, model=with_transform(Dying()), workers=1)
    assert_same(run(data, path, resume=True), expected)


class Narrow(SmallNetwork):
    """A network whose device has memory for three images."""

    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    most = 3

    def forward(self, images):
        if len(images) > self.most:
            raise self.error
        return super().forward(images)


def test_out_of_memory_halves_the_batch(data, expected, tmp_path):
    lines = []
    recording = run(data, tmp_path / "recording.zarr", model=changed(Narrow()), batch_size=16, say=lines.append)
    assert_same(recording, expected, atol=1e-6)
    assert [re.findall(r"\d+", line) for line in lines] == [["16", "8"], ["8", "4"], ["4", "2"]]
    assert all(line.startswith("memory    ") for line in lines)


def test_out_of_memory_with_one_image(data, tmp_path):
    class Nothing(Narrow):
        error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")

    model = changed(Nothing())
    model.network.most = 2
    path = tmp_path / "recording.zarr"
    model.network.error = RuntimeError("an error of another kind")
    with pytest.raises(RuntimeError, match="an error of another kind"):
        run(data, path, model=model)
    model.network.error = Nothing.error

    def progress(images):
        model.network.most = 0

    message = (
        "the device's memory does not hold the forward pass of a single image; choose a smaller network or input, or "
        "--device cpu."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        run(data, path, model=model, progress=progress, resume=True)
    assert is_incomplete(path)


class Broken(SmallNetwork):
    """A network whose second gate is NaN for one image, known by the mean of its pixels, and infinite for another."""

    values = (float("nan"), float("inf"))

    def __init__(self, means) -> None:
        super().__init__()
        self.means = means

    def forward(self, images):
        features = self.first(self.stem(images))
        for mean, value in zip(self.means, self.values, strict=True):
            hit = (images.mean((1, 2, 3)) - mean).abs() < 1e-6
            features = torch.where(hit[:, None, None, None], value, features)
        return self.head(self.second(self.down(features)).mean((2, 3)))


def test_nan_in_the_gates_is_named_and_not_averaged(data, expected, tmp_path):
    model = small_model()
    paths = ["alpha/004.png", "gamma/011.png"]
    means = [float(model.transform(Image.open(data / path)).mean()) for path in paths]
    recording = run(data, tmp_path / "recording.zarr", model=changed(Broken(means)))
    second = recording.sites[1].name
    assert recording.skipped[["path", "class", "reason"]].values.tolist()[::2] == [
        [paths[0], "alpha", f"NaN in the gates of {second}"],
        [paths[1], "gamma", f"NaN in the gates of {second}"],
    ]
    assert recording.classes["images"].tolist() == [19, 19, 19]
    assert verify(recording.path).sound
    kept = ~expected.images["path"].isin(paths).to_numpy()
    assert recording.images["path"].tolist() == expected.images["path"][kept].tolist()
    for site in recording.sites:
        gates = expected.gates(site.name)
        wanted = gates.values[kept[gates["image"].values]]
        np.testing.assert_allclose(recording.gates(site.name), wanted, atol=1e-6)
        alpha = wanted[:19].astype(np.float64)
        moments = recording.moments(site.name).sel({"class": "alpha"})
        np.testing.assert_allclose(moments["mean"], alpha.mean(0), atol=1e-6)
        np.testing.assert_allclose(moments["m2"], alpha.var(0) * 19, atol=1e-6)
