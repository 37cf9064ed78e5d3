"""All findings of a recording, in order, and as rows of text."""

from se_probe.analysis.findings import COLUMNS, Finding, findings, findings_table
from se_probe.analysis.health import site_health
from tests.analysis.findings.networks import recording
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


def test_rows_are_plain_text():
    rows = findings_table(
        [
            Finding("a", "A claim.", "supported", "Words.", 0.25, (-0.1, 0.5), ("SE_2_1",)),
            Finding("b", "Another.", "cannot be judged", "Why.", None, None, ()),
            Finding("c", "A count.", "not supported", "Many.", 1.0, None, ()),
        ]
    )
    assert COLUMNS == ("claim", "verdict", "number", "what was measured")
    assert rows == [
        ("A claim.", "supported", "0.250 (-0.100 to 0.500)", "Words."),
        ("Another.", "cannot be judged", "", "Why."),
        ("A count.", "not supported", "1.000", "Many."),
    ]
