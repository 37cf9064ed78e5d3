"""The rules for channels and panels."""

import numpy as np
import pytest

from se_probe.analysis import default_panels, sample_channels, select_sites
from se_probe.errors import SeProbeError
from tests.analysis.raw_recording import GateSite, resnet50_sites


def test_sample_is_distinct_sorted_and_in_range():
    picked = sample_channels(2048, 50, seed=0)
    assert picked.dtype == np.int64
    assert len(picked) == 50
    assert (np.diff(picked) > 0).all()
    assert picked[0] >= 0
    assert picked[-1] < 2048


def test_sample_is_fixed_by_the_documented_rule():
    stream = np.random.PCG64(7)
    tickets = [(stream.random_raw(), channel) for channel in range(20)]
    assert sample_channels(20, 6, seed=7).tolist() == sorted(channel for _, channel in sorted(tickets)[:6])


def test_seed_changes_the_sample():
    assert sample_channels(256, 50, seed=0).tolist() != sample_channels(256, 50, seed=1).tolist()


def test_smaller_sample_is_part_of_a_larger_one():
    assert set(sample_channels(256, 20, seed=4)) < set(sample_channels(256, 50, seed=4))


def test_every_channel_is_equally_likely():
    hits = np.zeros(40)
    for seed in range(2000):
        hits[sample_channels(40, 10, seed)] += 1
    chi_squared = ((hits - 500) ** 2 / (500 * 0.75)).sum() * 39 / 40
    assert chi_squared < 73  # 99.9 % quantile at 39 degrees of freedom


@pytest.mark.parametrize("count", [None, 16, 50])
def test_all_channels_where_enough_are_asked_for(count):
    assert sample_channels(16, count, seed=3).tolist() == list(range(16))


def test_no_channels_is_an_error():
    with pytest.raises(SeProbeError) as error:
        sample_channels(16, 0, seed=0)
    assert str(error.value) == "0 channels were requested; expected 1 or more, or none given for all"


def test_panels_of_se_resnet50_are_those_of_the_paper():
    assert default_panels(resnet50_sites()) == ["SE_2_3", "SE_3_4", "SE_4_6", "SE_5_1", "SE_5_2", "SE_5_3"]


def test_one_stage_shows_all_its_sites():
    assert default_panels([GateSite("SE_5_1", 5, 1, 8), GateSite("SE_5_2", 5, 2, 8)]) == ["SE_5_1", "SE_5_2"]


def test_long_last_stage_is_thinned_to_six_with_both_ends():
    sites = [GateSite("SE_4_1", 4, 1, 8), *(GateSite(f"SE_5_{block}", 5, block, 8) for block in range(1, 17))]
    assert default_panels(sites) == ["SE_4_1", "SE_5_1", "SE_5_4", "SE_5_7", "SE_5_10", "SE_5_13", "SE_5_16"]


def test_sites_come_in_the_order_asked_for():
    assert [site.block for site in select_sites(resnet50_sites(), ["SE_5_3", "SE_2_1"])] == [3, 1]


def test_unknown_site_is_named():
    with pytest.raises(SeProbeError) as error:
        select_sites(resnet50_sites()[:2], ["SE_9_9"])
    assert str(error.value) == "no site is called 'SE_9_9'; choose among SE_2_1, SE_2_2"
