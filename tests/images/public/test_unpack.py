"""Archives that would write elsewhere, or more than they should."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile

import pytest

from se_probe.errors import SeProbeError
from se_probe.images.public import fetch
from tests.images.public.archives import add, imagenetv2_files, tar_of, zip_of
from tests.images.public.server import Behaviour, serve

V2 = "imagenetv2:matched-frequency"


def fetched(publish, content: bytes, **facts) -> str:
    """Fetch an archive that is published with its own checksum; return the refusal."""
    with serve(Behaviour(content)) as address:
        publish(V2, address, content, **facts)
        with pytest.raises(SeProbeError) as caught:
            fetch("imagenetv2", progress=False)
    return str(caught.value)


def nothing_was_kept(tmp_path) -> bool:
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return left == [] and not (tmp_path / "cache/data/imagenetv2-matched-frequency").exists()


@pytest.mark.parametrize("name", ["../escaped.jpeg", "/tmp/escaped.jpeg", "a/../../escaped.jpeg", "..\\escaped", "C:x"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_paths_that_lead_out_of_the_folder(publish, tmp_path, name, kind):
    content = (tar_of if kind == "tar" else zip_of)({**imagenetv2_files(), name: b"x"}, folders=False)
    assert fetched(publish, content) == (
        f"imagenetv2-matched-frequency.tar.gz holds {name!r}, which leads out of its folder; nothing of it was kept"
    )
    assert nothing_was_kept(tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar(publish, tmp_path, kind):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        add(tar, "inside", type=kind, linkname="/etc")
        add(tar, "inside/passwd", b"x")
    assert fetched(publish, stream.getvalue()) == (
        "imagenetv2-matched-frequency.tar.gz holds 'inside', which is a link or a device; nothing of it was kept"
    )
    assert nothing_was_kept(tmp_path)


def test_links_in_a_zip(publish, tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as zipped:
        link = zipfile.ZipInfo("inside")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(link, "/etc")
    assert fetched(publish, stream.getvalue()).endswith(
        "holds 'inside', which is a link or a device; nothing of it was kept"
    )
    assert nothing_was_kept(tmp_path)


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_more_bytes_than_the_set_has(publish, tmp_path, kind):
    files = {f"{index}.jpeg": bytes(400_000) for index in range(3)}
    content = tar_of(files, "w:gz") if kind == "tar" else zip_of(files, folders=False)
    assert fetched(publish, content) == (
        "imagenetv2-matched-frequency.tar.gz holds more than 1000000 bytes; nothing of it was kept"
    )
    assert nothing_was_kept(tmp_path)


def test_a_size_that_is_only_claimed(publish, tmp_path):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        entry = tarfile.TarInfo("a.jpeg")
        entry.size = 900_000
        tar.addfile(entry)
    content = stream.getvalue()
    assert fetched(publish, content[:1024]) == (
        "imagenetv2-matched-frequency.tar.gz cannot be unpacked (unexpected end of data); nothing of it was kept"
    )
    assert nothing_was_kept(tmp_path)


@pytest.mark.parametrize("content", [b"<html>not found</html>", tar_of(imagenetv2_files(), "w:gz")[:9000]])
def test_what_is_no_archive(publish, tmp_path, content):
    assert fetched(publish, content).startswith("imagenetv2-matched-frequency.tar.gz cannot be unpacked (")
    assert nothing_was_kept(tmp_path)


def test_one_name_twice(publish, tmp_path):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        add(tar, "a.jpeg", b"1")
        add(tar, "a.jpeg", b"2")
    assert "(File exists)" in fetched(publish, stream.getvalue())
