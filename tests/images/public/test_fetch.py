"""Fetching from a server on the loopback interface, with the layouts of the published archives."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter, namedtuple
from pathlib import Path

import pytest
import torch
from filelock import FileLock

import se_probe
from se_probe.cli import main
from se_probe.errors import SeProbeError
from se_probe.images import batches
from se_probe.images.public import PUBLIC_SETS, fetch, state_of
from se_probe.labels import label_space_from_names
from se_probe.report import make_thumbnails
from tests.images.public.archives import INDICES, WNIDS, imagenetv2_files, tar_of, tiny_imagenet_files, zip_of
from tests.images.public.server import Behaviour, serve
from tests.told import told

V2 = "imagenetv2:matched-frequency"
QUIET = {"progress": False}


def everything_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix != ".lock")


def error_of(*arguments, **options):
    with pytest.raises(SeProbeError) as caught:
        fetch(*arguments, **QUIET, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_what_is_fetched_is_what_was_published(cache, publish, mode):
    files = imagenetv2_files()
    content = tar_of(files, mode)
    with serve(Behaviour(content)) as address:
        public = publish(V2, address, content)
        folder = fetch("imagenetv2", **QUIET)
    assert folder == cache / "imagenetv2-matched-frequency" / "imagenetv2-matched-frequency-format-val"
    assert {f"{folder.name}/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*.jpeg")} == files
    receipt = json.loads((folder.parent / "fetched.json").read_text())
    assert (receipt["url"], receipt["sha256"], receipt["bytes"]) == (public.url, public.sha256, len(content))
    assert everything_in(cache / "downloads") == []


def test_a_second_fetch_asks_nobody(publish):
    behaviour = Behaviour(tar_of(imagenetv2_files()))
    with serve(behaviour) as address:
        publish(V2, address, behaviour.content)
        first = fetch("imagenetv2", **QUIET)
        with told() as lines:
            again = fetch("imagenetv2", **QUIET)
    assert first == again
    assert len(behaviour.requests) == 1
    assert lines == [f"data      {V2} is there: {first}"]


@pytest.mark.parametrize(
    ("headers", "condition"),
    [({"ETag": '"one"'}, '"one"'), ({"ETag": 'W/"weak"', "Last-Modified": "then"}, "then"), ({}, None)],
)
def test_a_broken_download_is_gone_on_with(publish, headers, condition):
    content = tar_of(imagenetv2_files())
    half = len(content) // 2
    behaviour = Behaviour(content, breaks=[half, 1000], headers=headers)
    with serve(behaviour) as address:
        publish(V2, address, content)
        folder = fetch("imagenetv2", **QUIET)
    assert behaviour.requests == [(None, None), (f"bytes={half}-", condition), (f"bytes={half + 1000}-", condition)]
    assert len(list(folder.rglob("*.jpeg"))) == 12


def test_a_download_that_was_given_up_is_gone_on_with_by_the_next_call(cache, publish):
    content = tar_of(imagenetv2_files())
    behaviour = Behaviour(content, breaks=[5000, 0, 0, 0])
    with serve(behaviour) as address:
        public = publish(V2, address, content)
        message = error_of("imagenetv2")
        assert message.startswith(f"{public.url} could not be read to its end (")
        assert message.endswith("5.0 kB of 41.0 kB are here: the same command resumes the download")
        assert state_of(public).begun == 5000
        assert not (cache / "imagenetv2-matched-frequency").exists()
        fetch("imagenetv2", **QUIET)
    assert [asked for asked, _ in behaviour.requests] == [None, *["bytes=5000-"] * 4]
    assert state_of(public).folder == cache / "imagenetv2-matched-frequency"


def test_a_file_that_changed_on_the_server_is_begun_again(publish):
    content = tar_of(imagenetv2_files())
    behaviour = Behaviour(bytes(len(content)), breaks=[3000, 0, 0, 0])
    with serve(behaviour) as address:
        publish(V2, address, content)
        error_of("imagenetv2")
        behaviour.content, behaviour.headers = content, {"ETag": '"two"'}
        fetch("imagenetv2", **QUIET)
    assert behaviour.requests[-1] == ("bytes=3000-", '"one"')


def test_a_server_without_ranges_sends_all_of_it_again(publish):
    content = tar_of(imagenetv2_files())
    behaviour = Behaviour(content, ranges=False, breaks=[7000, 7000])
    with serve(behaviour) as address:
        publish(V2, address, content)
        folder = fetch("imagenetv2", **QUIET)
    assert len(behaviour.requests) == 3
    assert len(list(folder.rglob("*.jpeg"))) == 12


@pytest.mark.parametrize("stated", ["bytes 0-9/10", "bytes 7000-8000/9000", "nonsense"])
def test_a_range_that_was_not_asked_for_is_not_joined(publish, stated):
    content = tar_of(imagenetv2_files())
    behaviour = Behaviour(content, breaks=[7000], content_range=stated)
    with serve(behaviour) as address:
        publish(V2, address, content)
        fetch("imagenetv2", **QUIET)
    assert [asked for asked, _ in behaviour.requests] == [None, "bytes=7000-", None]


def test_an_overloaded_server_is_asked_again(publish):
    content = tar_of(imagenetv2_files())
    behaviour = Behaviour(content, statuses=[503, 429])
    with serve(behaviour) as address:
        publish(V2, address, content)
        fetch("imagenetv2", **QUIET)
    assert len(behaviour.requests) == 3


def test_a_wrong_checksum_keeps_nothing(cache, publish):
    content = tar_of(imagenetv2_files())
    with serve(Behaviour(content)) as address:
        public = publish(V2, address, content, sha256="0" * 64)
        message = error_of("imagenetv2")
    assert message.startswith(f"{public.url}: SHA256 hash of downloaded file ({public.archive_name}) does not match")
    assert "0" * 64 in message
    assert everything_in(cache) == ["downloads"]


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("difference", [-1, 1])
def test_a_file_of_another_size_is_refused_at_once(cache, publish, announced, difference):
    content = tar_of(imagenetv2_files())
    behaviour = Behaviour(content, announced=announced)
    with serve(behaviour) as address:
        public = publish(V2, address, content, size=len(content) + difference)
        message = error_of("imagenetv2")
    if difference > 0 and not announced:
        assert message.startswith(f"{public.url} could not be read to its end (")
        return
    found = len(content) if announced else f"more than {public.size}"
    assert message == (
        f"{public.url} gives {found} bytes; expected the file of {public.size} bytes that se-probe knows. Nothing was "
        "kept; give another address of it with --url"
    )
    assert everything_in(cache) == ["downloads"]


@pytest.mark.parametrize(("status", "reason"), [(404, "Not Found"), (403, "Forbidden")])
def test_a_file_that_is_not_there(publish, status, reason):
    behaviour = Behaviour(b"", statuses=[status] * 9)
    with serve(behaviour) as address:
        public = publish(V2, address, b"x")
        assert error_of("imagenetv2") == (
            f"{public.url} cannot be obtained (status {status} {reason}); the publisher may have moved it: "
            "give another address of the same file with --url"
        )
    assert len(behaviour.requests) == 1


def test_no_network(publish):
    public = publish(V2, "http://127.0.0.1:9", b"x")
    assert error_of("imagenetv2") == (
        f"{public.url} could not be read to its end (Connection refused); nothing of it is here: try again later, or "
        "give another address of the same file with --url"
    )


def test_no_room(cache, publish, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 5_000_000, 5_000_000))
    publish(V2, "http://127.0.0.1:9", b"x", size=4_000_000, unpacked=2_000_000)
    assert error_of("imagenetv2") == (
        f"{V2} needs 6 MB in {cache / 'downloads'} and 5 MB are free there; make room, or name a folder on another "
        "disk with SE_PROBE_CACHE"
    )


def test_a_cache_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SE_PROBE_CACHE", str(tmp_path / "file"))
    assert error_of("imagenetv2") == (
        f"{V2} cannot be kept in {tmp_path / 'file' / 'data'} (Not a directory); make room or make it writable, or "
        "name another folder with SE_PROBE_CACHE"
    )


def test_another_fetch_is_under_way(cache, publish):
    publish(V2, "http://127.0.0.1:9", b"x")
    (cache / "downloads").mkdir(parents=True)
    with FileLock(cache / "downloads" / "imagenetv2-matched-frequency.lock"):
        assert error_of("imagenetv2") == f"{V2} is being fetched by another process; wait for it"


def test_what_a_killed_call_left_half_unpacked_is_unpacked_again(cache, publish):
    content = tar_of(imagenetv2_files())
    half_way = cache / "downloads" / "imagenetv2-matched-frequency"
    half_way.mkdir(parents=True)
    (half_way / "left.jpeg").write_bytes(b"half")
    behaviour = Behaviour(content)
    with serve(behaviour) as address:
        public = publish(V2, address, content)
        (cache / "downloads" / public.archive_name).write_bytes(content)
        folder = fetch("imagenetv2", **QUIET)
    assert behaviour.requests == []
    assert not (folder.parent / "left.jpeg").exists()
    assert len(list(folder.rglob("*.jpeg"))) == 12


def test_an_archive_without_the_expected_folder(cache, publish):
    content = tar_of({"other/0/a.jpeg": b"x"})
    with serve(Behaviour(content)) as address:
        public = publish(V2, address, content)
        assert error_of("imagenetv2") == (
            f"{public.archive_name} holds no folder imagenetv2-matched-frequency-format-val; nothing of it was kept"
        )
    assert everything_in(cache) == ["downloads"]


def test_another_address_of_the_same_file(publish):
    content = tar_of(imagenetv2_files())
    with serve(Behaviour(content)) as address:
        publish(V2, "http://127.0.0.1:9", content)
        folder = fetch("imagenetv2", url=f"{address}/mirror.tar", **QUIET)
    assert json.loads((folder.parent / "fetched.json").read_text())["url"] == f"{address}/mirror.tar"


def test_names_and_variants():
    assert error_of("imagenetv2:best") == (
        'there is no public set "imagenetv2:best"; expected one of imagenetv2:matched-frequency, '
        "imagenetv2:threshold-0.7, imagenetv2:top-images, tiny-imagenet:val, tiny-imagenet:train"
    )


def run_main(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["se-probe", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code or 0


def test_the_command_line(cache, publish, monkeypatch, capsys):
    content = tar_of(imagenetv2_files("threshold0.7"))
    with serve(Behaviour(content)) as address:
        publish("imagenetv2:threshold-0.7", address, content)
        assert run_main(monkeypatch, "data", "fetch", "imagenetv2", "--variant", "threshold") == 0
        publish("imagenetv2:top-images", address, content, sha256="0" * 64)
        capsys.readouterr()
        assert run_main(monkeypatch, "data", "fetch", "imagenetv2", "--variant", "top-images") == 2
        assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {address}/imagenetv2-top-images.tar.gz: ")
    assert run_main(monkeypatch, "data", "list", "--json") == 0
    folders = {item["name"]: item["folder"] for item in json.loads(capsys.readouterr().out)}
    assert folders == {
        **dict.fromkeys(PUBLIC_SETS),
        "imagenetv2:threshold-0.7": str(cache / "imagenetv2-threshold-0.7"),
    }


def test_what_is_not_fetched_says_how(publish, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    expected = (
        f"imagenetv2 is not on this machine (not at {tmp_path}/cache/data/imagenetv2-matched-frequency/"
        "imagenetv2-matched-frequency-format-val); se-probe data fetch imagenetv2 downloads it (1.26 GB)"
    )
    with pytest.raises(SeProbeError) as caught:
        se_probe.open_images("imagenetv2", se_probe.imagenet())
    assert str(caught.value) == expected
    (tmp_path / "imagenetv2").mkdir()
    with pytest.raises(SeProbeError) as caught:
        se_probe.open_images("imagenetv2", None)
    assert str(caught.value) == expected + ", or give the folder of that name as ./imagenetv2"
    with pytest.raises(SeProbeError, match=r"se-probe data fetch imagenetv2 --variant top-images downloads it"):
        se_probe.open_images("imagenetv2:top-images", None)
    with pytest.raises(SeProbeError, match=r"se-probe data fetch tiny-imagenet downloads it \(248 MB\)$"):
        se_probe.open_images("tiny-imagenet", None)


def test_imagenetv2_from_the_server_to_the_report(publish, tmp_path):
    content = tar_of(imagenetv2_files())
    with serve(Behaviour(content)) as address:
        publish(V2, address, content)
        fetch("imagenetv2", **QUIET)
    torch.set_num_threads(1)
    recording = se_probe.excite(
        "goldfish,pug,plane,cliff",
        data="imagenetv2",
        model="test_efficientnet",
        random_weights=True,
        out=tmp_path / "run",
        workers=0,
        progress=False,
    )
    assert Counter(recording.images["class_index"]) == dict.fromkeys(INDICES, 3)
    folders = recording.images["path"].str.partition("/")[0]
    assert (folders == recording.images["class_index"].astype(str)).all()
    assert recording.provenance["data"]["title"] == V2
    assert recording.provenance["data"]["layout"] == (
        "folders named by index of ImageNet-1k, read as wnid (4 classes, 12 images)"
    )
    assert "There are no thumbnails" not in (tmp_path / "run" / "report.html").read_text()
    paths = recording.images["path"].tolist()
    assert list(make_thumbnails(recording, paths, "imagenetv2").pictures) == paths


def test_a_network_with_fewer_classes_reads_imagenetv2_by_wnid(publish):
    content = tar_of(imagenetv2_files())
    with serve(Behaviour(content)) as address:
        publish(V2, address, content)
        fetch("imagenetv2", **QUIET)
    images = se_probe.open_images("imagenetv2", label_space_from_names(["n02110958", "n01443537"], "two classes"))
    assert [(c.index, c.name) for c in images.classes] == [
        (0, "pug"),
        (1, "goldfish"),
        (None, "airliner"),
        (None, "cliff"),
    ]


@pytest.mark.parametrize(
    ("data", "images"), [("tiny-imagenet", 6), ("tiny-imagenet:val", 6), ("tiny-imagenet:train", 2)]
)
def test_tiny_imagenet(publish, data, images):
    content = zip_of(tiny_imagenet_files())
    with serve(Behaviour(content)) as address:
        publish("tiny-imagenet", address, content)
        fetch("tiny-imagenet", **QUIET)
    opened = se_probe.open_images(data, se_probe.imagenet())
    assert len(opened.samples) == images
    assert opened.title == (data if ":" in data else "tiny-imagenet:val")
    assert {c.wnid for c in opened.classes} == set(WNIDS)
    assert set(opened.counts.values()) == {images // 2}


def test_the_network_of_photographs_takes_what_was_fetched(publish):
    content = zip_of(tiny_imagenet_files())
    with serve(Behaviour(content)) as address:
        publish("tiny-imagenet", address, content)
        fetch("tiny-imagenet", **QUIET)
    model = se_probe.load_model("photo:se")
    images = se_probe.open_images("tiny-imagenet", model.labels)
    assert {c.wnid: (c.index, number) for c, number in images.counts.items()} == {WNIDS[0]: (0, 3), WNIDS[1]: (None, 3)}
    selection = se_probe.select(images, images.classes)
    (batch,) = batches(selection, model.transform, batch_size=8, workers=0)
    assert model.network(batch.images).shape == (6, 50)
