import pandas as pd
import pytest

from se_probe.figures import EFFECT_FIGURES, INTERVENTION_FIGURES, RUN_FIGURES, RunFigure

ALL = RUN_FIGURES | EFFECT_FIGURES | INTERVENTION_FIGURES


@pytest.mark.parametrize("name", ALL)
def test_each_figure_has_words_and_what_draws_it_goes_with_a_table(name):
    figure = ALL[name]
    assert figure.title
    assert figure.note.endswith(".")
    assert bool(figure.table) == (figure.draw is not None)


def test_a_figure_is_drawn_where_its_table_has_numbers():
    figure = RunFigure("title", "A note.", table="some.csv", draw=lambda table: None, needs="value")
    assert figure.drawable(pd.DataFrame({"value": [float("nan"), 1.0]}))
    assert not figure.drawable(pd.DataFrame({"value": [float("nan")]}))
    assert not figure.drawable(pd.DataFrame({"value": []}))
