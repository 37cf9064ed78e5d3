"""What a run says first: the worst news, then what was found, one line per claim, and the next command."""

import pytest

from se_probe.analysis.findings import Finding, findings, summary
from tests.analysis.ablated import SITES, planted
from tests.analysis.findings.networks import recording
from tests.analysis.raw_recording import mixed_recording

LIVE = findings(recording(0.1))
COLLAPSED = findings(recording(0.0, 0.001, level=0.65, profile=0.0))
SHUFFLED = "predictions agree with the labels of only 3 of 500 images: the labels are shuffled"


def test_a_collapsed_network_says_so_first_and_what_is_known_to_help():
    told = summary(COLLAPSED, arguments="--run reports/x")
    assert told.sentences[0].startswith("The gates have collapsed at all 8 sites")
    assert "mean gate 0.65" in told.sentences[0]
    assert "eight decay" in told.sentences[1]
    assert told.next == "se-probe fold --run reports/x"


def test_states_come_the_worst_first_and_name_their_sites():
    first = summary(findings(mixed_recording())).sentences[0]
    assert first.index("collapsed at 1 of 4 sites (SE_3_1)") < first.index("saturated at 1 of 4 sites (SE_5_1)")


def test_a_live_network_is_told_as_live_with_the_command_that_measures_claim_5():
    told = summary(LIVE, recorded="96 images of 8 classes.", arguments="--model net.py:build")
    assert told.sentences[0] == "The gates are live at all 8 sites: they depend on the image."
    assert told.sentences[1].startswith("The gates do not become class-specific with depth")
    assert told.next == "se-probe ablate --model net.py:build --with mean --sites stages"


def test_warnings_come_before_good_news_and_after_collapsed_gates():
    sentence = f"P{SHUFFLED[1:]}."
    assert summary(LIVE, warnings=[SHUFFLED]).sentences[0] == sentence
    collapsed = summary(COLLAPSED, warnings=[SHUFFLED]).sentences
    assert collapsed[0].startswith("The gates have collapsed")
    assert collapsed[1] == sentence


def test_no_warning_is_left_out_and_else_there_are_three_sentences():
    many = [f"warning {number}" for number in range(5)]
    assert set(summary(COLLAPSED, warnings=many).sentences) >= {f"Warning {number}." for number in range(5)}
    for found in (LIVE, COLLAPSED):
        assert len(summary(found, recorded="96 images.").sentences) == 3


def test_each_claim_has_a_line_with_its_verdict_and_number():
    claims = summary(LIVE).claims
    assert len(claims) == 6
    for finding in LIVE[:6]:
        assert f"{finding.title}: {finding.verdict}; {finding.result}" in claims
    assert not any("Dead channels" in line for line in claims)


def test_too_few_images_ask_for_more():
    told = summary(findings(recording(classes=1, images=2)), arguments="--demo")
    assert told.sentences[0].startswith("Whether the gates depend on the image cannot be judged: 2 images")
    assert told.next == "se-probe excite --demo --per-class 50"


def test_a_run_is_joined_by_what_acts_on_it_and_recorded_again_for_more_images():
    given = {"arguments": "--demo", "joining": "--run reports/x"}
    assert summary(LIVE, **given).next == "se-probe ablate --run reports/x --with mean --sites stages"
    few = summary(findings(recording(classes=1, images=2)), **given)
    assert few.next == "se-probe excite --demo --per-class 50"


def test_measured_interventions_leave_nothing_to_run():
    worth = dict(zip(SITES, (0.2, 0.2, 0.15, 0.15, 0.1, 0.1, 0.001, 0.001), strict=True))
    told = summary(findings(recording(0.1, classes=12), ablation=planted(worth, images=100)))
    assert any("matter less (mean): supported" in line for line in told.claims)
    assert told.next is None


@pytest.mark.parametrize("found", [[], [Finding("one", "A claim.", title="A claim", result="unknown")]])
def test_few_findings_are_no_error(found):
    assert summary(found, recorded="2 images.").sentences[-1] == "2 images."
