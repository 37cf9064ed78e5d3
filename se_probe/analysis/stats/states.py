"""States of gates: open, closed, constant or dynamic; entropy over branches and effective rank."""

import numpy as np
from numpy.typing import NDArray

from se_probe.analysis.stats.moments import Floats

OPEN = 0.95
"""A gate at or above this is open: it leaves its channel unchanged."""
CLOSED = 0.05
"""A gate at or below this is closed: it removes its channel."""
STATIC_SD = 0.02
"""A channel whose gate has a smaller standard deviation over images does not depend on the input."""
FEWEST_STATE_IMAGES = 20
"""Fewest images for which a state is given: with 20 the limits of a standard deviation are 0.8 and 1.5 times its
estimate, with two they are 0.4 and 32 times."""
MOST = 0.75
"""Share of static channels from which a site counts as static."""
SAME_LEVEL = 0.05
"""Widest interquartile range of constant gates that counts as one level."""

STATES = ("dynamic", "open", "closed", "constant")


def channel_states(level: Floats, spread: Floats, *, bounded: bool) -> NDArray[np.str_]:
    """The state of each channel from its mean gate and its standard deviation over images, in gate units.

    "dynamic": the spread is at least `STATIC_SD`. Else the channel is static: "open" at `OPEN` or above, "closed" at
    `CLOSED` or below (dead), "constant" in between, a fixed scale. Gates that are not `bounded` between 0 and 1 are
    never open or closed. A channel of unknown spread is "unknown".
    """
    static = np.where(bounded & (level >= OPEN), "open", np.where(bounded & (level <= CLOSED), "closed", "constant"))
    return np.where(np.isnan(spread), "unknown", np.where(spread >= STATIC_SD, "dynamic", static))


def site_verdict(level: Floats, states: NDArray[np.str_]) -> str:
    """Name the state of a site from the states of its channels.

    - "live": less than `MOST` of its channels are static.
    - "saturated": static, and at least half of the static channels are open or closed.
    - "collapsed": static at one and the same level (`SAME_LEVEL`) between open and closed.
    - "constant": static at levels that differ between channels, a fixed scale per channel.
    - "unknown": a spread over images is missing, or rests on fewer than `FEWEST_STATE_IMAGES` images.
    """
    if np.any(states == "unknown"):
        return "unknown"
    static = states != "dynamic"
    if static.mean() < MOST:
        return "live"
    if np.mean(states[static] != "constant") >= 0.5:
        return "saturated"
    lower, upper = np.quantile(level[states == "constant"], (0.25, 0.75))
    return "collapsed" if upper - lower <= SAME_LEVEL else "constant"


def branch_entropy(gates: NDArray[np.floating]) -> Floats:
    """Entropy of the attention over branches as a share of its maximum, 0 … 1, `(image, channel)`.

    `gates` is `(image, branch, channel)` and sums to 1 over branches. 1 where branches are even, 0 where one has all
    the weight.

    Source: Shannon, A Mathematical Theory of Communication (1948); divided by log(branches).
    """
    share = np.asarray(gates, dtype=np.float64)
    logs = np.log(np.where(share > 0, share, 1.0))
    return np.asarray(-np.sum(share * logs, axis=1) / np.log(share.shape[1]))


def effective_rank(gates: NDArray[np.floating]) -> float:
    """Effective number of directions in which gates `(image, column)` vary about their mean over images.

    exp of the entropy of the singular values, normalised to sum 1: between 1 and min(images − 1, columns); 0 where
    nothing varies. It does not depend on scale: gates that hardly move also have a rank.

    Source: Roy and Vetterli, The effective rank, EUSIPCO 2007 (of the matrix minus its column means).
    """
    values = np.asarray(gates, dtype=np.float64)
    singular = np.linalg.svd(values - values.mean(axis=0), compute_uv=False)
    if singular[0] <= np.finfo(np.float64).eps * np.abs(values).max(initial=0) * max(values.shape):
        return 0.0
    share = singular / singular.sum()
    share = share[share > 0]
    return float(np.exp(-np.sum(share * np.log(share))))
