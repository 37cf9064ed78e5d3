"""Recordings from strangers: nothing in them runs, leads out of their folder, or claims what is not there."""

import json
import os
import pickle
import re
import subprocess
import sys

import pytest

from se_probe.errors import SeProbeError
from se_probe.recording import open_recording, verify
from se_probe.recording.guard import root_attributes
from se_probe.recording.header import header_of
from se_probe.recording.shards import DamagedShardError, Shard


class Payload:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return exec, (f"open({str(self.mark)!r}, 'w').close()",)


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_gathered(store, name, **changes):
    path = store / ".zmetadata"
    gathered = json.loads(path.read_text())
    gathered["metadata"][f"{name}/.zarray"].update(changes)
    path.write_text(json.dumps(gathered))


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "|O", "filters": [{"id": "pickle", "protocol": 5}], "compressor": None},
        {"dtype": "|O", "filters": None, "compressor": {"id": "pickle", "protocol": 5}},
        {"filters": [{"id": "pickle", "protocol": 5}], "compressor": None},
    ],
)
@pytest.mark.parametrize("gathered", [False, True])
def test_nothing_is_unpickled(copy, tmp_path, changes, gathered):
    mark = tmp_path / "mark"
    (copy / "images/path/0").write_bytes(pickle.dumps(Payload(mark)))
    if gathered:
        edit_gathered(copy, "images/path", **changes)
    else:
        (copy / ".zmetadata").unlink()
        edit(copy / "images/path/.zarray", **changes)
    if gathered:  # which is never read
        with pytest.raises(SeProbeError, match="cannot be read"):
            _ = open_recording(copy).images
        assert ".zmetadata differs from images/path/.zarray" in verify(copy).problems[-1]
    else:
        with pytest.raises(SeProbeError, match=r"images/path is not read: (it holds|it needs|its metadata say)"):
            open_recording(copy)
        assert verify(copy).problems[0].startswith("images/path is not read: ")
    assert not mark.exists()


@pytest.mark.parametrize("gathered", [False, True])
@pytest.mark.parametrize("changes", [{"shape": [10**12, 6]}, {"chunks": [10**12, 6]}])
def test_what_is_claimed_must_lie_there(copy, changes, gathered):
    if gathered:
        edit_gathered(copy, "gates/SE_2_1/gate", **changes)
    else:
        edit(copy / "gates/SE_2_1/gate/.zarray", **changes)
    if gathered:
        assert len(open_recording(copy).gates("SE_2_1")) == 39
        assert not verify(copy).sound
        return
    message = r"gates/SE_2_1/gate is not read: it claims 6,000,000,000,000 values, but only [\d,]+ bytes are there"
    with pytest.raises(SeProbeError, match=message):
        open_recording(copy)


@pytest.mark.parametrize("content", ["{", "[]", '{"shape": "many"}', '{"shape": [3], "chunks": [3], "dtype": "?!"}'])
def test_damaged_metadata_of_an_array(copy, content):
    (copy / "images/path/.zarray").write_text(content)
    with pytest.raises(SeProbeError, match=r"damaged"):
        open_recording(copy)


@pytest.mark.parametrize("name", ["../../escape", "/etc", "..", "a/b", "a\\b", "", ".hidden", "a\0b"])
def test_no_name_leads_out_of_the_folder(copy, name):
    attributes = json.loads((copy / ".zattrs").read_text())
    attributes["signals"][0]["site"] = name
    (copy / ".zattrs").write_text(json.dumps(attributes))
    (copy / ".zmetadata").unlink()
    with pytest.raises(SeProbeError, match=f"damaged .*{re.escape(repr(name))}, which is not a valid name"):
        open_recording(copy)
    assert len(verify(copy).problems) == 1


@pytest.mark.parametrize("change", [{"sites": None}, {"sites": [{"name": "x"}]}, {"signals": [{}]}, {"provenance": 3}])
def test_damaged_attributes(copy, change):
    edit(copy / ".zattrs", **change)
    (copy / ".zmetadata").unlink()
    with pytest.raises(SeProbeError, match=r"^the attributes of the recording are damaged \(.+\); copy it again"):
        open_recording(copy)


def test_a_shard_that_claims_too_much(copy, tmp_path):
    recorded = header_of(root_attributes(copy))
    header = json.dumps({"gates": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}).encode()
    path = tmp_path / "000000000.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 100)
    with pytest.raises(DamagedShardError, match="is damaged: it cannot be read"):
        Shard.read(path, recorded)
    path.write_bytes((10**15).to_bytes(8, "little"))
    with pytest.raises(DamagedShardError, match="is damaged: it cannot be read"):
        Shard.read(path, recorded)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("gates/SE_2_1/gate/.zattrs", {"scale_factor": 0.5}),
        ("gates/SE_2_1/gate/.zattrs", {"_ARRAY_DIMENSIONS": ["channel", "image"]}),
        ("gates/SE_2_1/.zattrs", {"coordinates": "image"}),
        ("gates/SE_2_1/gate/.zarray", {"dtype": ">f4"}),
        ("gates/SE_2_1/gate/.zarray", {"dtype": "<i4"}),
        ("gates/SE_2_1/gate/.zarray", {"order": "F"}),
        ("gates/SE_2_1/gate/.zarray", {"chunks": [128, 12]}),
        ("gates/SE_2_1/gate/.zarray", {"shape": [38, 6]}),
        ("moments/count/.zarray", {"fill_value": 3}),
        ("moments/SE_2_1/mean/.zarray", {"filters": [{"id": "delta", "dtype": "<f8"}]}),
        ("moments/.zgroup", {"zarr_format": 3}),
    ],
)
def test_metadata_that_would_change_values_are_refused(copy, name, changes):
    edit(copy / name, **changes)
    with pytest.raises(SeProbeError, match=r"recording\.zarr is damaged: .*Copy the recording again"):
        open_recording(copy)
    assert verify(copy).problems


@pytest.mark.parametrize("changes", [{"dtype": ">f4"}, {"scale_factor": 0.5}])
def test_gathered_metadata_change_nothing_and_are_checked(sound, copy, changes):
    path = copy / ".zmetadata"
    gathered = json.loads(path.read_text())
    entry = ".zarray" if "dtype" in changes else ".zattrs"
    gathered["metadata"][f"gates/SE_2_1/gate/{entry}"].update(changes)
    path.write_text(json.dumps(gathered))
    assert open_recording(copy).gates("SE_2_1").equals(open_recording(sound).gates("SE_2_1"))
    (problem,) = verify(copy).problems
    assert problem.startswith(f".zmetadata differs from gates/SE_2_1/gate/{entry}")
    assert problem.endswith(f"delete {path}")


@pytest.mark.parametrize("name", [".zattrs", "gates/pipe", "images/path/0", "shards/000000000.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_pipes_and_links_are_refused(copy, tmp_path, name, kind):
    path = copy / name
    path.parent.mkdir(exist_ok=True)
    if kind == "pipe":
        path.unlink(missing_ok=True)
        os.mkfifo(path)
    else:
        (tmp_path / "outside").write_bytes(path.read_bytes() if path.exists() else b"")
        path.unlink(missing_ok=True)
        path.symlink_to(tmp_path / "outside")
    for look in (open_recording, verify):
        with pytest.raises(SeProbeError, match=r"is a (pipe|link).*expected a regular file"):
            look(copy)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("sites", 0, "channels"), "many"),
        (("classes", 0, "name"), 3),
        (("classes", 0, "index"), "0"),
        (("chosen", 0), "nobody"),
        (("signals", 0, "site"), "SE_9_9"),
        (("signals", 0, "shape"), [0]),
        (("signals", 0, "shape"), [10**9]),
        (("skipped", 0), "beta/007.png"),
        (("selected",), -1),
        (("provenance", "model"), None),
        (("provenance", "data", "title"), ["a"]),
        (("provenance", "settings"), "fast"),
        (("schema",), "3"),
        (("status",), "sound"),
    ],
)
def test_every_fact_has_its_form(copy, path, value):
    attributes = json.loads((copy / ".zattrs").read_text())
    place = attributes
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (copy / ".zattrs").write_text(json.dumps(attributes))
    with pytest.raises(SeProbeError, match="damaged"):
        open_recording(copy)


def test_deeply_nested_json_is_damage(copy):
    (copy / ".zattrs").write_text("[" * 100_000)
    with pytest.raises(SeProbeError, match="is damaged or missing"):
        open_recording(copy)


def test_a_damaged_chunk_is_a_sentence_where_it_is_read(copy):
    (copy / "moments/SE_2_1/mean/0.0").write_bytes(b"\x02\x01\x21\x04" + b"\xff" * 40)
    recording = open_recording(copy)
    with pytest.raises(SeProbeError, match=r"recording\.zarr cannot be read \(.+se-probe verify"):
        recording.moments("SE_2_1")


def test_looking_for_a_recording_imports_no_array_library():
    program = (
        "import sys; from pathlib import Path; from se_probe.recording.guard import is_incomplete\n"
        "from se_probe.recording.run_folder import RunFolder\n"
        "is_incomplete(Path('nowhere')); print([name for name in ('torch', 'zarr', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
