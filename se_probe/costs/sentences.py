"""Sentences about the cost of gates."""

from __future__ import annotations

from collections.abc import Sequence

from se_probe.costs.network_cost import NetworkCost
from se_probe.costs.timing import RunTime, Share
from se_probe.gates import GateSite

_OF_REPLACED = {"gate": "computing the gates", "gate and product": "computing and applying the gates"}


def cost_sentences(cost: NetworkCost) -> list[str]:
    """Return sentences on what the gates add to the network, and on the SENet paper's formula."""
    gates, bare = cost.gates, cost.multiply_adds_without
    more = gates.parameters / cost.parameters_without
    layers, everything = cost.multiply_adds / bare - 1, cost.operations / bare - 1
    shared = cost.shared_parameters
    sentences = [
        f"parameters {cost.parameters:,}, of which gates {gates.parameters:,} ({_more(more)} on those without)"
        + f"; {shared:,} of these are shared between sites and are in no row" * bool(shared),
        f"multiply-adds {_amount(bare)} without gates, {_amount(cost.multiply_adds)} with excitation "
        f"({_more(layers)}), {_amount(cost.operations)} with squeeze and scale counted too ({_more(everything)})",
        f"gates: squeeze {gates.squeeze:,} additions, excitation {gates.excitation:,} multiply-adds, scale "
        f"{gates.scale:,} multiplications; for one image of {'×'.join(map(str, cost.input_size))}",
    ]
    return [*sentences, _formula_sentence(cost)]


def cost_summary(cost: NetworkCost, run_time: RunTime | None) -> str:
    """Summarise in one sentence what the gates add to the network and, where measured, their share of run time."""
    share = next((item for item in run_time.shares if item.replaced == "gate and product"), None) if run_time else None
    timed = f"; {_share_sentence(share)}" if share is not None else ""
    return (
        f"The gates add {_more(cost.gates.parameters / cost.parameters_without)} parameters and "
        f"{_more(cost.multiply_adds / cost.multiply_adds_without - 1)} multiply-adds to the network without "
        f"them{timed}."
    )


def _formula_sentence(cost: NetworkCost) -> str:
    """Compare the SENet paper's formula with the parameters counted at the sites that have a reduction ratio."""
    table = cost.table()
    covered = table[table["formula_parameters"].notna()]
    if covered.empty:
        return f"(2/r) Σ C²: no site has it ({_why_not(cost.sites)})"
    counted = covered["parameters"].sum()
    where = "all sites" if len(covered) == len(table) else f"{len(covered)} of {len(table)} sites"
    return f"(2/r) Σ C² over {where}: {cost.formula_parameters:,.0f} parameters; counted there {counted:,}"


def no_sweep_sentence(cost: NetworkCost) -> str:
    """Explain why the reduction ratio cannot be swept."""
    return f"no sweep of r: no gate is computed by two layers C to C / r to C alone ({_why_not(cost.sites)})"


def time_sentences(run_time: RunTime) -> list[str]:
    """Return sentences on the share of run time of each group of sites, with its interval."""
    batch = "1 image" if run_time.batch_size == 1 else f"{run_time.batch_size} images"
    whole = (
        f"run time of {batch} {run_time.network_milliseconds:.4g} ms, replayed {run_time.replay_milliseconds:.4g} ms "
        f"({run_time.device}, {run_time.threads} threads, median of {run_time.rounds} rounds)"
    )
    return [whole, *map(_share_sentence, run_time.shares)]


def _amount(operations: int) -> str:
    unit, name = (1e9, "G") if operations >= 1e9 else (1e6, "M")
    return f"{operations / unit:.3f} {name}"


def _more(increase: float) -> str:
    return f"+{100 * increase:.2f} %" if increase >= 5e-5 or increase == 0 else f"+{100 * increase:.1g} %"


def _share_sentence(share: Share) -> str:
    which = "" if share.sites == "all" else f"{share.sites}: "
    unclear = "; not distinguishable from 0" if share.low <= 0 <= share.high else ""
    return (
        f"{which}{_OF_REPLACED[share.replaced]} takes {100 * share.share:.1f} % of the replay's time, "
        f"95 % interval {100 * share.low:.1f} to {100 * share.high:.1f} %{unclear}"
    )


def _why_not(sites: Sequence[GateSite]) -> str:
    if any(site.branches > 1 for site in sites):
        return "gates over branches have other layers"
    if all(site.reduction is None for site in sites):
        families = ", ".join(dict.fromkeys(site.family for site in sites))
        return f"{families} gates have no reduction ratio r"
    return "their layers differ from that form, or are shared"
