"""All findings of a recording, in order, and as a table."""

import numpy as np
import pytest

from se_probe.analysis.findings import Finding, findings, findings_table
from se_probe.analysis.health import site_health
from tests.analysis.findings.networks import recording, sites
from tests.analysis.raw_recording import mixed_recording

CLAIMS = [
    "class-agnostic-early",
    "class-specific-late",
    "second-last-site-saturates",
    "last-site-same-pattern",
    "last-stage-matters-less",
    "more-variance-within-classes-late",
]


def test_claims_come_in_the_papers_order_and_health_after_them():
    keys = [finding.key for finding in findings(mixed_recording())]
    assert keys == [*CLAIMS, "gates-alive", "no-dead-channels", "nearly-constant-sites", "branches-choose"]


def test_tables_given_change_nothing():
    made = recording(0.1)
    assert findings(made, {"site_health.csv": site_health(made)}) == findings(made)


def test_a_chosen_class_alone_or_single_images_give_no_verdict_on_classes():
    for made in (recording(classes=3), recording(classes=3, images=1), recording(classes=3, images=2)):
        verdicts = {finding.key: finding.verdict for finding in findings(made)}
        assert {verdicts[key] for key in CLAIMS if key != "second-last-site-saturates"} == {"cannot be judged"}


@pytest.mark.parametrize(("classes", "images"), [(1, 2), (1, 4), (3, 1), (4, 4)])
def test_too_few_images_give_no_verdict_at_all(classes, images):
    found = findings(recording(classes=classes, images=images))
    assert {finding.verdict for finding in found} == {"cannot be judged"}
    assert all("needed" in finding.statement or finding.key == "last-stage-matters-less" for finding in found)


def test_unbounded_gates_are_judged_by_no_finding():
    made = recording(0.1, places=sites(activation="unbounded", bounded=False), classes=12)
    for finding in findings(made):
        assert finding.verdict == "cannot be judged"
        assert "unbounded" in finding.statement


@pytest.mark.parametrize("made", [recording(0.1), recording(0.0, 1e-3, level=0.5, profile=0.0), mixed_recording()])
def test_every_finding_has_a_line_and_a_bar(made):
    for finding in findings(made):
        assert finding.title
        assert finding.result
        assert len(f"{finding.title}: {finding.result}") <= 110
        assert "\n" not in finding.title + finding.result
        assert finding.bar or finding.key == "last-stage-matters-less"
        assert finding.value is None or finding.quantity
        assert finding.statement.endswith(".")


def test_a_table_has_a_row_a_finding_with_limits():
    table = findings_table(
        [
            Finding("a", "A claim.", "supported", "Words.", 0.25, (-0.1, 0.5), ("SE_2_1", "SE_2_2")),
            Finding("b", "Another.", "cannot be judged", "Why."),
        ]
    )
    assert list(table["verdict"]) == ["supported", "cannot be judged"]
    assert list(table.loc[0, ["value", "ci_low", "ci_high", "sites"]]) == [0.25, -0.1, 0.5, "SE_2_1,SE_2_2"]
    assert np.isnan(table.loc[1, "ci_low"])
