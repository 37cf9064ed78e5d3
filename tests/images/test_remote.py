"""Data behind URLs is the same data as on disk: same names, same labels, same pixels, and clear errors."""

import contextlib
import pickle
import re
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest
import torch
from fsspec.registry import known_implementations

import se_probe
from se_probe.errors import SeProbeError
from se_probe.images import batches, open_images, select
from se_probe.labels import imagenet
from tests.images.helpers import ToTensor
from tests.recording.small import SmallNetwork, assert_same, draw_images


@pytest.fixture
def store():
    """An empty store in memory."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


@contextlib.contextmanager
def serving(content, *, ranges=True, status=200):
    """Serve bytes under any path ending in .tar, with or without Range; yields the address and the ranges asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, *, body):
            code = status if self.path.partition("?")[0].endswith(".tar") else 404
            if code != 200:
                self.send_error(code)
                return
            part = content
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or "") if ranges else None
            if match:
                start, end = int(match[1]), min(int(match[2]), len(content) - 1)
                asked.append((start, end))
                part = content[start : end + 1]
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            if body:
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(part)

        def log_message(self, format, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def upload(store, root, place):
    for path in root.rglob("*"):
        if path.is_file():
            store.pipe_file(f"{place}/{path.relative_to(root).as_posix()}", path.read_bytes())


def pack(root, target):
    with tarfile.open(target, "w") as tar:
        tar.add(root, arcname=".")
    return target


def assert_same_images(url, root, *, workers=0):
    """Compare what a URL and a folder hold, to the pixel, and return the set of the URL."""
    sets = open_images(url, imagenet()), open_images(root, imagenet())
    assert sets[0].samples == sets[1].samples
    assert sets[0].layout == sets[1].layout
    assert sets[0].ignored == sets[1].ignored
    here = [select(images, images.classes, per_class=1000) for images in sets]
    far, near = (list(batches(s, ToTensor(), batch_size=4, workers=workers)) for s in here)
    assert [b.indices for b in far] == [b.indices for b in near]
    assert [[s.path for s in b.skipped] for b in far] == [[s.path for s in b.skipped] for b in near]
    assert all(torch.equal(a.images, b.images) for a, b in zip(far, near, strict=True))
    return sets[0]


def error_of(data):
    with pytest.raises(SeProbeError) as caught:
        open_images(data, imagenet())
    assert "\n" not in str(caught.value)
    return str(caught.value)


ODD = ("n01443537/a b'\"<i>.png", "n01443537/ü.JPEG", "n02110958/line\nbreak.png", "n02110958/.hidden.png")


def test_class_folders_with_odd_names_in_a_store(tree, store):
    root = tree(*ODD, *(f"n02110958/{i}.png" for i in range(5)))
    (root / "n02110958/broken.png").write_bytes(b"no image")
    (root / "n02110958/notes.md").write_text("of no account")
    upload(store, root, "/bucket/val")
    for url in ("memory://bucket/val", "memory://bucket/val/"):
        images = assert_same_images(url, root)
        assert images.title == url.rstrip("/")
        assert images.location == url
        assert pickle.loads(pickle.dumps(images)) == images
    assert "n02110958/line\\x0abreak.png" in [sample.path for sample in images.samples]


def test_flat_files_with_a_label_file_beside_them_in_a_store(tree, store):
    root = tree("val/b.png", "val/a.png")
    (root / "labels.txt").write_text("a 254\nb 1\n")
    upload(store, root, "/bucket/set")
    images = assert_same_images("memory://bucket/set/val", root / "val")
    assert {s.path: s.image_class.index for s in images.samples} == {"a.png": 254, "b.png": 1}


def test_tiny_imagenets_annotations_beside_the_images_in_a_store(tree, store):
    root = tree("val/images/val_0.JPEG", "val/images/val_1.JPEG")
    (root / "val/val_annotations.txt").write_text(
        "val_0.JPEG\tn01443537\t0\t0\t1\t1\nval_1.JPEG\tn02110958\t0\t0\t1\t1\n"
    )
    upload(store, root, "/tiny")
    assert_same_images("memory://tiny/val", root / "val")
    assert_same_images("memory://tiny/val/images", root / "val/images")


def test_tars_in_a_store(tree, store, tmp_path_factory):
    root = tree("n01443537/a.png", "n02110958/b.png", "n02110958/c.png")
    tars = tmp_path_factory.mktemp("tars")
    store.pipe_file("/bucket/whole.tar", pack(root, tars / "whole.tar").read_bytes())
    assert_same_images("memory://bucket/whole.tar", root)
    for name in ("n01443537", "n02110958"):
        store.pipe_file(f"/classes/{name}.tar", pack(root / name, tars / f"{name}.tar").read_bytes())
    assert_same_images("memory://classes", root)
    store.pipe_file("/bucket/broken.tar", b"no tar at all")
    assert error_of("memory://bucket/broken.tar").startswith("memory://bucket/broken.tar is not a readable .tar file (")


def test_file_urls_with_workers(tree):
    root = tree(*ODD, *(f"n02110958/{i}.png" for i in range(6)))
    (root / "n02110958/loop").symlink_to(root)
    assert_same_images(root.as_uri(), root, workers=2)
    assert_same_images(f"local://{root}", root)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_tar_on_a_web_server_is_read_in_parts(tree, tmp_path_factory, workers):
    root = tree(*(f"n01443537/{i}.png" for i in range(5)), "n02110958/b.png")
    (root / "n02110958/empty.png").write_bytes(b"")
    content = pack(root, tmp_path_factory.mktemp("tar") / "val.tar").read_bytes()
    with serving(content) as (address, asked):
        images = assert_same_images(f"{address}/val.tar?signature=secret", root, workers=workers)
    assert images.title == f"{address}/val.tar"
    assert images.location is None
    size = (root / "n02110958/b.png").stat().st_size
    starts = [start for start, end in asked if end + 1 - start == size]
    assert (root / "n02110958/b.png").read_bytes() in [content[start : start + size] for start in starts]


def test_web_addresses_that_cannot_be_read_in_parts(tree, tmp_path_factory):
    content = pack(tree("n01443537/a.png"), tmp_path_factory.mktemp("tar") / "val.tar").read_bytes()
    with serving(content, ranges=False) as (address, _):
        assert error_of(f"{address}/val.tar") == (
            f"{address}/val.tar: the server does not send parts of a file (Range requests), so that single images "
            "cannot be read; download the tar and give its path"
        )
        assert error_of(f"{address}/imagenet/val/") == (
            f"{address}/imagenet/val/ is no .tar file, and a web server does not list what a folder holds; expected "
            "the address of a .tar, a store that can be listed (s3://, gs:// ...), or shards as wds/https://..."
        )
    with serving(content, status=404) as (address, _):
        assert (
            error_of(f"{address}/val.tar")
            == f"{address}/val.tar cannot be read (the server answers 404); expected the address of a .tar file"
        )
    assert error_of(f"{address}/val.tar").startswith(f"{address}/val.tar cannot be read (Cannot connect to host ")


def test_nothing_there(store, tmp_path):
    expected = "holds no files, or does not exist; expected a folder of images or a .tar file"
    assert error_of("memory://nothing/here") == f"memory://nothing/here {expected}"
    assert error_of((tmp_path / "none").as_uri()).startswith(f"{tmp_path / 'none'} does not exist; expected ")
    store.pipe_file("/bucket/readme.md", b"text")
    assert error_of("memory://bucket").startswith("memory://bucket holds no images (1 files); expected ")


def test_a_protocol_without_its_package_or_that_is_unknown(monkeypatch):
    known = {"class": "no_such_package.System", "err": "Install s3fs to access S3"}
    monkeypatch.setitem(known_implementations, "s9", known)
    assert error_of("s9://bucket/val") == (
        "s9://bucket/val cannot be reached: the package for its kind of store is not installed (Install s3fs to access "
        "S3)."
    )
    assert error_of("nonsense://bucket").startswith("nonsense://bucket cannot be reached (Protocol not known: nonsense")


def test_files_that_are_gone_are_skipped_and_a_store_that_fails_is_not(tree, store, monkeypatch):
    upload(store, tree("n01443537/a.png", "n01443537/b.png", "n01443537/c.png"), "/bucket")
    images = open_images("memory://bucket", imagenet())
    selection = select(images, images.classes, per_class=9)
    store.rm_file("/bucket/n01443537/b.png")
    (batch,) = batches(selection, ToTensor(), batch_size=4, workers=0)
    assert [(skip.path, skip.reason) for skip in batch.skipped] == [("n01443537/b.png", "No such file or directory")]
    read, failures = type(store).cat_file, [OSError("reset by peer"), OSError("reset by peer")]

    def flaky(self, path, **options):
        if failures:
            raise failures.pop()
        return read(self, path, **options)

    monkeypatch.setattr(type(store), "cat_file", flaky)
    (again,) = batches(selection, ToTensor(), batch_size=4, workers=0)
    assert torch.equal(again.images, batch.images)
    for workers in (0, 1):
        failures[:] = [OSError("reset\nby peer")] * 9
        with pytest.raises(SeProbeError, match=r"^/bucket/n01443537/a.png could not be read from its store \(reset\),"):
            list(batches(selection, ToTensor(), batch_size=4, workers=workers))


def test_a_listing_that_leads_out_of_the_folder(tree, store, monkeypatch):
    upload(store, tree("n01443537/a.png"), "/bucket/val")
    listing = {path: {"size": 9} for path in ("/bucket/val/n01443537/a.png", "/bucket/val/../n01443537/b.png")}
    monkeypatch.setattr(type(store), "find", lambda self, root, detail: listing)
    images = open_images("memory://bucket/val", imagenet())
    assert ([sample.path for sample in images.samples], images.ignored) == (["n01443537/a.png"], 1)
    listing["/etc/passwd.png"] = {"size": 9}
    assert error_of("memory://bucket/val") == "memory://bucket/val lists a file /etc/passwd.png, which is not in it"


def test_a_run_over_a_store_equals_one_over_the_folder(store, tmp_path):
    torch.set_num_threads(1)
    data = draw_images(tmp_path / "data")
    upload(store, data, "/bucket/val")
    torch.manual_seed(0)
    network = SmallNetwork().eval()
    quiet = {"model": network, "progress": False, "workers": 0, "exact": True}
    near = se_probe.excite("alpha,beta", data=data, out=tmp_path / "near", report=False, **quiet)
    far = se_probe.excite("alpha,beta", data="memory://bucket/val", out=tmp_path / "far", **quiet)
    assert_same(far, near)
    assert far.provenance["data"]["location"] == "memory://bucket/val"
    assert "Thumbnails were made from memory://bucket/val together" in (tmp_path / "far/report.html").read_text()
    from se_probe.report import make_thumbnails

    paths = list(far.images["path"][:2])
    assert set(make_thumbnails(far, paths, "memory://bucket/val").pictures) == set(paths)
    unasked = make_thumbnails(far, paths)
    assert not unasked.pictures
    assert "--data" in unasked.note
