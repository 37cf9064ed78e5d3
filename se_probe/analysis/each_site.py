"""A measure of every site, several sites at a time."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from joblib import Parallel, cpu_count, delayed
from threadpoolctl import threadpool_limits

from se_probe.analysis.protocols import GateSiteLike

Measured = TypeVar("Measured")
# Each holds some hundred megabytes where a recording has a thousand classes.
MOST_AT_ONCE = 8


def each_site(measure: Callable[[GateSiteLike], Measured], sites: Sequence[GateSiteLike]) -> list[Measured]:
    """Return what a function gives for each site, in order.

    Sites go to threads, each of which has one thread of the linear algebra library: matrices are so small that
    more would wait for each other, and sums do not depend on the machine's number of cores.
    """
    at_once = min(MOST_AT_ONCE, cpu_count())
    with threadpool_limits(1, "blas"):
        return list(Parallel(at_once, backend="threading")(delayed(measure)(site) for site in sites))
