"""What a run found, in short: three sentences, a line for each claim, and the next command."""

from collections.abc import Sequence

from se_probe.analysis.findings.finding import VERDICTS, Finding
from se_probe.analysis.summary import Summary

HEALTH = ("gates-alive", "no-dead-channels", "nearly-constant-sites", "branches-choose")
"""Keys of the findings that answer questions of users; the others are claims of papers."""
MOST_SENTENCES = 3


def summary(
    findings: Sequence[Finding],
    *,
    recorded: str = "",
    warnings: Sequence[str] = (),
    arguments: str = "--run RUN",
    joining: str | None = None,
) -> Summary:
    """Summarise the findings of a run.

    Args:
        findings: those of `findings.findings`.
        recorded: what was recorded, in a sentence, such as the network and the numbers of images and classes.
        warnings: what a reader must know before believing anything: shuffled labels, skipped images.
        arguments: what follows the verb in a command on the same network and images.
        joining: what follows it where the command joins the run; `arguments` by default.

    Returns:
        Bad news of the gates first (collapsed, saturated, constant, not to be judged), then the warnings, then what
        else was found, up to three sentences; neither bad news nor a warning is ever left out.
    """
    by_key = {finding.key: finding for finding in findings}
    claims = [finding for finding in findings if finding.key not in HEALTH]
    urgent = [f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}" for text in warnings]
    rest = [by_key[key].news for key in ("no-dead-channels", "class-specific-late") if key in by_key]
    alive = by_key.get("gates-alive")
    if alive is not None and alive.verdict != "supported":
        urgent, rest = [alive.news, *urgent], [alive.remedy, *rest]
    elif alive is not None:
        rest = [alive.news, *rest]
    others = [sentence for sentence in [*rest, _claims_counted(claims), recorded] if sentence]
    return Summary(
        (*urgent, *others[: max(MOST_SENTENCES - len(urgent), 0)]),
        tuple(f"{finding.title}: {finding.verdict}; {finding.result}" for finding in claims),
        _next(findings, arguments, arguments if joining is None else joining),
    )


def _claims_counted(claims: Sequence[Finding]) -> str:
    counts = {verdict: sum(claim.verdict == verdict for claim in claims) for verdict in VERDICTS}
    parts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return f"Of {len(claims)} claims about gates: {parts}." if claims else ""


def _next(findings: Sequence[Finding], arguments: str, joining: str) -> str | None:
    """More images where the health of gates cannot be judged, else what acts on it, else what settles a claim."""
    order = sorted(findings, key=lambda finding: (finding.key != "gates-alive", finding.key in HEALTH))
    command = next((finding.next_command for finding in order if finding.next_command), None)
    if command is None:
        return None
    verb, _, options = command.partition(" ")
    given = arguments if verb == "excite" else joining
    return " ".join(part for part in ("se-probe", verb, given, options) if part)
