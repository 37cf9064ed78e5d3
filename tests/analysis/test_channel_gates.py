"""The gates of one channel, image by image."""

import numpy as np
import pytest

from se_probe.analysis.channel_gates import channel_gates
from se_probe.errors import SeProbeError
from tests.analysis.raw_recording import mixed_recording

RECORDING = mixed_recording()


def test_every_image_of_a_class_has_its_gate_and_classes_keep_their_order():
    table = channel_gates(RECORDING, "SK_4_1", 2, branch=1)
    assert list(table["class"].unique()) == RECORDING.chosen
    for name in RECORDING.chosen:
        gates = table.loc[table["class"] == name, "gate"]
        np.testing.assert_allclose(gates, RECORDING.raw["SK_4_1"][name][:, 1, 2], rtol=1e-6)


def test_the_image_is_its_row_in_the_recording():
    table = channel_gates(RECORDING, "SE_2_1", 0)
    stored = RECORDING.gates("SE_2_1")
    assert sorted(table["image"]) == list(range(stored.sizes["image"]))
    np.testing.assert_allclose(table["gate"], stored.to_numpy()[table["image"], 0])


@pytest.mark.parametrize(
    ("channel", "branch", "message"),
    [
        (6, 0, "SE_2_1 has no channel 6; expected 0 to 5"),
        (-1, 0, "SE_2_1 has no channel -1; expected 0 to 5"),
        (0, 1, "SE_2_1 has no branch 1; expected 0 to 0"),
    ],
)
def test_a_channel_that_is_not_there(channel, branch, message):
    with pytest.raises(SeProbeError, match=f"^{message}$"):
        channel_gates(RECORDING, "SE_2_1", channel, branch)
