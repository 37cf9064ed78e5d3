"""Whether a class-selective gate is an important one: over the channels of a network, from first-order effects."""

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from se_probe.analysis.effects import AGREEMENT, OF_SITES, OVERALL
from se_probe.analysis.findings.finding import Finding, above, all_of
from se_probe.analysis.findings.sentences import limits
from se_probe.analysis.findings.thresholds import SMALL_CORRELATION

KEY = "selective-channels-matter-more"


def selective_channels_matter_more(tables: Mapping[str, pd.DataFrame]) -> Finding | None:
    """Rank correlation over channels of class selectivity with the size of the effect on the answer, mean over sites.

    A gate that moves more has a larger effect, selective or not: the claim stands only if the correlation counts with
    the gate's spread held fixed, too. None where effects were not recorded.

    Source: Morcos et al., On the importance of single directions for generalization, ICLR 2018.
    """
    held = tables.get(AGREEMENT)
    if held is None:
        return None
    claim = Finding(
        KEY,
        "Channels with more class-selective gates matter more for the answer (Morcos et al. 2018 found that they do "
        "not): here by the first-order effect of each channel's gate.",
        title="Channels with more class-selective gates matter more",
        quantity="rank correlation over the channels of a site of ω² with the size of the effect, mean over sites",
        bar=f"a rank correlation counts above {SMALL_CORRELATION:g}",
    )
    if OVERALL not in tables:
        return claim.undecided("First-order effects agree with exact replacement at no site; they are not used.")
    row, sites = tables[OVERALL].iloc[0], tables[OF_SITES]["site"]
    plain = float(row["ci_low"]), float(row["ci_high"])
    partial = float(row["partial_ci_low"]), float(row["partial_ci_high"])
    left_out = f", {len(held) - len(sites)} left out" if len(held) > len(sites) else ""
    over = f"{int(row['channels']):,} channels of {len(sites)} sites{left_out}"
    return replace(
        claim,
        verdict=all_of(above(interval, SMALL_CORRELATION) for interval in (plain, partial)),
        result=f"rank correlation {row['correlation']:.2f} ({limits(plain, 2)}), {row['partial']:.2f} "
        f"({limits(partial, 2)}) with the gate's spread held fixed, bar {SMALL_CORRELATION:g}",
        statement=(
            f"Over {over} the size of the effect correlates in rank with ω² by {row['correlation']:.2f} "
            f"({limits(plain, 2)}; Spearman, mean over sites, 95 % interval for other classes, which are left out for "
            f"all channels at once), and by {row['partial']:.2f} "
            f"({limits(partial, 2)}) with the standard deviation of the gate held fixed: an effect is in proportion to "
            f"how far the gate moves. Half of the effect is carried by {100 * row['half_share']:.0f} % of the channels "
            "of a site (median)."
        ),
        value=float(row["correlation"]),
        interval=plain,
        sites=tuple(str(site) for site in sites),
    )
