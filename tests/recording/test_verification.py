"""Every way in which a recording can be wrong is found and named."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import zarr

from se_probe.errors import SeProbeError
from se_probe.recording import open_recording, verify


def attributes_of(path):
    return json.loads((path / ".zattrs").read_text())


def put(path, attributes):
    (path / ".zmetadata").unlink(missing_ok=True)  # It holds them too.
    (path / ".zattrs").write_text(json.dumps(attributes))


def checksum(values):
    """As the documentation says it, without the package."""
    return hashlib.sha256(values.tobytes() + f"{values.dtype.str} {values.shape}".encode()).hexdigest()


def reseal(path):
    """Give a changed recording new checksums, so that the checks behind them are reached."""
    attributes = attributes_of(path)
    for name in attributes["checksums"]:
        if name != "attributes":
            attributes["checksums"][name] = checksum(zarr.open_array(path / name, mode="r")[:])
    rest = {key: value for key, value in attributes.items() if key not in ("status", "checksums")}
    attributes["checksums"]["attributes"] = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    put(path, attributes)


def change(path, name, index, value):
    array = zarr.open_array(path / name, mode="r+")
    values = array[:]
    values[index] = value
    array[:] = values


def test_checksums_are_what_the_documentation_says(sound, copy):
    before = attributes_of(copy)["checksums"]
    reseal(copy)
    assert attributes_of(copy)["checksums"] == before
    assert len(before) == 19
    found = verify(copy)
    assert found.sound
    assert (found.status, found.images, found.skipped, found.arrays) == ("complete", 59, 1, 18)
    assert verify(sound.parent).path == sound


CHANGES = {
    "gates/SE_2_1/gate": ((3, 2), 0.5, "gates/SE_2_1/gate does not have its checksum: its values were changed"),
    "moments/SE_3_1/m2": ((2, 0), 9.0, "moments/SE_3_1/m2 does not have its checksum"),
    "images/class": (5, "beta", "images/class does not have its checksum"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_value(copy, name):
    index, value, problem = CHANGES[name]
    change(copy, name, index, value)
    found = verify(copy)
    assert not found.sound
    (only,) = found.problems
    assert only.startswith(problem)


RESEALED = [
    ("gates/SE_2_1/gate", (0, 2), 0.5, "the mean gate of SE_2_1 of alpha is not that of its images (off by "),
    ("moments/SE_3_1/mean", (1, 0), 0.5, "the mean gate of SE_3_1 of beta is not that of its images (off by "),
    ("moments/SE_3_1/m2", (0, 4), 1.0, "m2 of the gate of SE_3_1 of alpha is not that of its images (off by "),
    ("moments/count", 0, 19, "the moments of alpha count 19 images; there are 20"),
    ("gates/image", 0, 1, "gates/image names 39 rows that are not those of the 39 chosen images in order"),
    ("gates/SE_2_1/gate", (0, 2), np.nan, "the gate of SE_2_1 is NaN or infinite in 1 places"),
    ("images/path", 0, "alpha/001.png", "the image alpha/001.png is listed more than once"),
    ("images/role", slice(None), "reference", "the classes with gates are not the chosen ones (alpha, beta)"),
]


@pytest.mark.parametrize(("name", "index", "value", "problem"), RESEALED)
def test_what_contradicts_itself_although_its_checksums_are_right(copy, name, index, value, problem):
    change(copy, name, index, value)
    reseal(copy)
    assert any(item.startswith(problem) for item in verify(copy).problems), verify(copy).problems


def test_rounding_of_merged_moments_is_no_problem(copy):
    array = zarr.open_array(copy / "moments/SE_2_1/mean", mode="r+")
    array[:] = array[:] * (1 + 1e-13)
    reseal(copy)
    assert verify(copy).sound


def test_missing_arrays_and_strange_ones(copy):
    shutil.rmtree(copy / "moments/SE_2_1/m2")
    shutil.copytree(copy / "images/path", copy / "images/other")
    (copy / ".zmetadata").unlink()
    assert verify(copy).problems == ("moments/SE_2_1/m2 is missing", "images/other does not belong to the recording")


def test_a_missing_chunk(copy):
    (copy / "gates/SE_2_1/gate/0.0").unlink()
    assert verify(copy).problems == ("gates/SE_2_1/gate is not read: 1 of its 1 chunks are missing",)
    with pytest.raises(SeProbeError, match="1 of its 1 chunks are missing"):
        open_recording(copy)


def test_an_undecodable_chunk(copy):
    (copy / "gates/SE_2_1/gate/0.0").write_bytes(b"\x02\x01\x21\x04" + b"\xff" * 40)
    (problem,) = verify(copy).problems
    assert problem.startswith("gates/SE_2_1/gate ")


def test_changed_attributes(copy):
    attributes = attributes_of(copy)
    attributes["provenance"]["data"]["seed"] = 7
    put(copy, attributes)
    assert verify(copy).problems == (
        "the attributes do not have their checksum: they were changed after the recording",
    )


def test_a_skipped_image_that_is_gone(copy):
    attributes = attributes_of(copy)
    attributes["skipped"] = []
    put(copy, attributes)
    reseal(copy)
    assert verify(copy).problems == ("59 images were recorded or skipped; expected the 60 selected ones",)


def test_a_recording_without_checksums(copy):
    attributes = attributes_of(copy)
    del attributes["checksums"]
    put(copy, {**attributes, "schema": 1})
    assert verify(copy).problems == ("the recording has no checksums (schema 1); only a new one has them",)


def test_no_recording(tmp_path):
    with pytest.raises(SeProbeError, match="holds no recording"):
        verify(tmp_path)
