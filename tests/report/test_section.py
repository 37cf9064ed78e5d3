import numpy as np
import pandas as pd

from se_probe.report.section import sites_table


def test_columns_that_do_not_differ_are_said_once():
    table = sites_table(pd.DataFrame({"site": ["SE_2_1", "SE_2_2"], "family": ["SE", "SE"], "channels": [64, 128]}))
    assert [heading.label for heading in table.headings] == ["Site", "Channels"]
    assert [[cell.text for cell in row] for row in table.rows] == [["SE_2_1", "64"], ["SE_2_2", "128"]]
    assert table.common == (("Family", "SE"),)


def test_a_single_site_keeps_its_columns():
    table = sites_table(pd.DataFrame({"site": ["SE_2_1"], "channels": [64]}))
    assert [heading.label for heading in table.headings] == ["Site", "Channels"]


def test_numbers_sort_by_their_value_and_missing_ones_are_lowest():
    column = [0.12345, 0.0003, 1e-9, np.nan]
    table = sites_table(pd.DataFrame({"site": list("abcd"), "between_class_sd": column}))
    assert [row[1].text for row in table.rows] == ["0.123", "0.0003", "< 0.0001", "–"]
    assert [row[1].key for row in table.rows] == [0.12345, 0.0003, 1e-9, float("-inf")]
    assert table.headings[1].numeric


def test_a_column_that_is_not_known_is_called_by_its_name():
    table = sites_table(pd.DataFrame({"site": ["a", "b"], "my_measure": ["low", "high"]}))
    assert table.headings[1].label == "my measure"
    assert not table.headings[1].numeric
    assert [row[1].key for row in table.rows] == [None, None]
