"""Coverage of the intervals of interventions, as stated in docs/interventions.md: `python -m benchmarks.coverage`.

Nominal is 95 %.
"""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from se_probe.analysis.stats.intervals import Interval
from se_probe.analysis.stats.moments import Floats
from se_probe.analysis.stats.paired import Strata, flip_interval, paired_interval, share_interval, studentized_interval

DESIGNS = ((1, 10), (1, 20), (1, 50), (10, 50), (50, 10), (50, 50))
"""Classes and images of each."""
RUNS = 1000
RATES = (0.002, 0.005, 0.02, 0.1)


def covered(interval: Callable[[Strata], Interval], groups: Sequence[Floats] | Floats, truth: float) -> str:
    """Share of the columns whose interval holds the truth, and the mean width."""
    found = interval(Strata(tuple(groups), "image"))
    inside = (found.low <= truth + 1e-12) & (found.high >= truth - 1e-12)
    return f"{100 * inside.mean():5.1f} % ({np.nanmean(found.high - found.low):.4f})"


def flips(rng: np.random.Generator, classes: int, images: int, rate: float, falling: float) -> tuple[Floats, float]:
    """Flips of images whose rates differ between classes, the falling share of them downwards."""
    own = np.minimum(rate * (rng.gamma(0.7, 1 / 0.7, classes) if classes > 1 else np.ones(1)), 0.95)
    draws = rng.random((classes, images, RUNS))
    down, up = (own * falling)[:, None, None], own[:, None, None]
    return np.where(draws < down, -1.0, np.where(draws < up, 1.0, 0.0)), float(np.mean(own * (1 - 2 * falling)))


def losses(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Floats, float]:
    """Changes of NLL: most small and of either sign, one in ten a loss with a long tail."""
    values = np.where(rng.random(shape) < 0.1, rng.lognormal(-1.0, 0.7, shape), rng.normal(0, 0.1, shape))
    return values, 0.1 * np.exp(-1.0 + 0.7**2 / 2)


def main() -> None:
    """Print the coverage of each interval in each design."""
    rng = np.random.default_rng(0)
    for (classes, images), rate, falling in product(DESIGNS, RATES, (1.0, 0.6)):
        groups, truth = flips(rng, classes, images, rate, falling)
        found = [covered(interval, groups, truth) for interval in (flip_interval, paired_interval)]
        print(
            f"flips {classes} × {images}, {rate:.1%}, {falling:.0%} down: "
            f"adjusted Wald {found[0]}, bootstrap {found[1]}"
        )
    for (classes, images), share in product(DESIGNS, (0.8, 0.98)):
        groups, truth = flips(rng, classes, images, 1 - share, 0.0)
        print(f"share {classes} × {images}, {share:.0%}: Wilson {covered(share_interval, 1 - groups, 1 - truth)}")
    for classes, images in DESIGNS:
        values, truth = losses(rng, (classes, images, RUNS))
        normal = rng.normal(0.1, 1, (classes, images, RUNS))
        tail = rng.lognormal(-4, 1.5, (classes, images, RUNS))
        for name, interval in (("bootstrap", paired_interval), ("studentized", studentized_interval)):
            found = [
                covered(interval, groups, true)
                for groups, true in ((normal, 0.1), (values, truth), (tail, np.exp(-4 + 1.5**2 / 2)))
            ]
            print(f"means {classes} × {images}, {name}: normal {found[0]}, losses {found[1]}, log-normal {found[2]}")


if __name__ == "__main__":
    main()
