"""Groups of sites that are changed together: each alone, from the last backwards, by stage, or by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from se_probe.errors import SeProbeError
from se_probe.gates import GateSite

Scope = Literal["site", "cumulative", "stage", "sites"]
SCOPES = ("each", "cumulative", "stages")


@dataclass(frozen=True)
class SiteGroup:
    """Sites whose gates are replaced together, in network order; `name` is unique within a scope."""

    name: str
    scope: Scope
    sites: tuple[GateSite, ...]

    @property
    def site_names(self) -> tuple[str, ...]:
        """Names of the sites."""
        return tuple(site.name for site in self.sites)


def plan_interventions(sites: Sequence[GateSite], which: Sequence[str] = SCOPES) -> list[SiteGroup]:
    """Return the groups of sites to change together.

    Args:
        sites: the network's sites, in network order.
        which: "each" for every site alone, "cumulative" for the last site, the last two and so on, "stages" for all
            sites of a stage, and names of sites, which form one group.

    Raises:
        SeProbeError: `which` is empty or holds something that is neither a scope nor a site.
    """
    by_name = {site.name: site for site in sites}
    unknown = next((item for item in which if item not in SCOPES and item not in by_name), None)
    if unknown is not None:
        raise SeProbeError(
            f"there is no site {unknown!r} to intervene on; expected {', '.join(SCOPES)}, or some of "
            f"{', '.join(by_name)}."
        )
    named = tuple(site for site in sites if site.name in which)
    planned = [SiteGroup("+".join(site.name for site in named), "sites", named)] if named else []
    if "each" in which:
        planned += [SiteGroup(site.name, "site", (site,)) for site in sites]
    if "cumulative" in which:
        planned += [
            SiteGroup(f"from {site.name}", "cumulative", tuple(sites[place:])) for place, site in enumerate(sites)
        ][::-1]
    if "stages" in which:
        stages = sorted({site.stage for site in sites})
        planned += [
            SiteGroup(f"stage {stage}", "stage", tuple(site for site in sites if site.stage == stage))
            for stage in stages
        ]
    if not planned:
        raise SeProbeError(f"no sites to intervene on were given; expected {', '.join(SCOPES)}, or names of sites.")
    return planned
