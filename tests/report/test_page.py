import base64
import hashlib
import json

import numpy as np
import pytest

from se_probe.report.page import content_hash, data_uri, json_for_script, packed, packed_integers


def unpacked(value):
    codes = np.frombuffer(base64.b64decode(value["data"]), dtype="<u2")
    return np.where(codes == 65535, np.nan, value["low"] + value["step"] * codes)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.4999, 0.5001), (-300.0, 20000.0)])
def test_numbers_come_back_within_half_a_step(low, high):
    values = np.random.default_rng(0).uniform(low, high, (5, 70))
    back = unpacked(packed(values))
    assert back.shape == (350,)
    assert np.abs(back - values.ravel()).max() <= (values.max() - values.min()) / 65534 / 2 * 1.0001


def test_the_ends_are_exact_and_missing_numbers_stay_missing():
    values = np.array([0.25, np.nan, 0.75, np.inf])
    np.testing.assert_array_equal(unpacked(packed(values)), [0.25, np.nan, 0.75, np.nan])


@pytest.mark.parametrize("values", [np.full(3, 0.5), np.full(2, np.nan), np.empty(0)])
def test_constant_missing_and_no_numbers(values):
    np.testing.assert_array_equal(unpacked(packed(values)), values)


def test_integers_are_little_endian():
    assert base64.b64decode(packed_integers(np.array([[1, 256], [2, 65535]]))) == b"\x01\x00\x00\x01\x02\x00\xff\xff"


def test_json_cannot_end_its_script_and_reads_back():
    value = {"</script><script>": ["<!--", "a & b", "\u2028", "é", 1.5, None]}
    text = json_for_script(value)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value


def test_json_refuses_what_it_cannot_say():
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_for_script([float("nan")])


def test_hash_is_that_of_the_content_security_policy():
    digest = hashlib.sha256("let é".encode()).digest()
    assert content_hash("let é") == f"'sha256-{base64.b64encode(digest).decode()}'"


def test_data_uri():
    assert data_uri(b"abc", "image/png") == "data:image/png;base64,YWJj"
