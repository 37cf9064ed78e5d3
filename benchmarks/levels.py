"""Levels of the tests of class means and coverage of the intervals of ω², on the gates of a real network.

`python -m benchmarks.levels RUN`, where RUN holds a recording whose chosen classes are all of its classes. For the
levels every class gets the same mean, and images are drawn with replacement from those of each class: no channel
depends on the class, and classes keep their spreads and skewness. For the coverage classes are drawn with replacement,
too; the truth is ω² of as many classes of that population. Nominal are 5 % and 95 %.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from se_probe.analysis.gates import site_gates
from se_probe.analysis.specificity import reliable
from se_probe.analysis.stats.class_tests import anova_type_test, bootstrap_test, false_discovery
from se_probe.analysis.stats.intervals import omega_squared_over_classes
from se_probe.analysis.stats.moments import Components, Moments, omega_squared
from se_probe.recording import open_recording

ALL_CLASSES = ([50] * 50, [5] * 50, [50] * 4 + [5] * 46, [10] * 25 + [40] * 25, [50] * 10, [25] * 12)
CHOSEN = ([50] * 4, [10] * 4, [50] * 2, [50, 40, 30, 25], [20] * 10, [50, 20, 10, 5])
COVERAGE = ((5, 50), (8, 50), (10, 50), (20, 50), (50, 50), (10, 10), (50, 10))
LEVEL = 0.05
CHANNELS = 64


def moments(groups: Sequence[np.ndarray]) -> Moments:
    """Moments `(column, class)` of arrays `(image, column)`."""
    means = np.stack([group.mean(axis=0) for group in groups], axis=-1)
    m2 = np.stack([np.sum((group - group.mean(axis=0)) ** 2, axis=0) for group in groups], axis=-1)
    return Moments(np.array([len(group) for group in groups]), means, m2)


def f_test(groups: Sequence[np.ndarray]) -> np.ndarray:
    """p values of Fisher's F test."""
    return np.asarray(stats.f_oneway(*groups).pvalue)


def drawn(rng: np.random.Generator, classes: Sequence[np.ndarray], counts: Sequence[int]) -> list[np.ndarray]:
    """Images of as many different classes as there are counts."""
    picked = rng.permutation(len(classes))[: len(counts)]
    return [classes[k][rng.integers(0, len(classes[k]), n)] for k, n in zip(picked, counts, strict=True)]


def told(p: np.ndarray, sites: np.ndarray) -> str:
    """Share of judged channels below the level: of all, at the worst site; and the share that is judged."""
    judged = np.isfinite(p)
    worst = [
        np.mean(p[judged & (sites == k)] <= LEVEL) for k in np.unique(sites) if (judged & (sites == k)).sum() > 200
    ]
    return (
        f"{np.mean(p[judged] <= LEVEL):.3f} (worst site {max(worst, default=np.nan):.2f}, judged {judged.mean():.2f})"
    )


def levels(sites: Sequence[Sequence[np.ndarray]], runs: int) -> None:
    """Print the levels of all tests in all designs."""
    rng = np.random.default_rng(0)
    for counts in ALL_CLASSES:
        found: dict[str, list[np.ndarray]] = {"F": [], "anova-type": [], "F, q": [], "anova-type, q": []}
        for classes in sites:
            for _ in range(runs):
                groups = drawn(rng, classes, counts)
                p = {"F": f_test(groups), "anova-type": reliable(anova_type_test(moments(groups))[1])}
                for name, values in p.items():
                    found[name].append(values)
                    found[f"{name}, q"].append(false_discovery(values))
        place = np.repeat(np.arange(len(sites)), [runs * classes[0].shape[1] for classes in sites])
        print(shown(counts), "; ".join(f"{name} {told(np.concatenate(p), place)}" for name, p in found.items()))
    for counts in CHOSEN:
        channel, site = [], []
        for classes in sites:
            for seed in range(runs):
                test = bootstrap_test(drawn(rng, classes, counts), resamples=199, seed=seed)
                channel.append(test.channel)
                site.append(test.site)
        place = np.repeat(np.arange(len(sites)), [runs * classes[0].shape[1] for classes in sites])
        of_sites = f"sites {np.mean(np.array(site) <= LEVEL):.3f}"
        judged = np.isfinite(np.concatenate(channel)).any()
        print(shown(counts), "bootstrap", told(np.concatenate(channel), place) if judged else "not judged", of_sites)


def coverage(sites: Sequence[Sequence[np.ndarray]], runs: int) -> None:
    """Print the coverage of the intervals over classes."""
    rng = np.random.default_rng(1)
    for classes, images in COVERAGE:
        hits: dict[bool, list[np.ndarray]] = {True: [], False: []}
        for population in sites:
            between = np.var([group.mean(axis=0) for group in population], axis=0) * (classes - 1) / classes
            within = np.mean([group.var(axis=0) for group in population], axis=0)
            for _ in range(runs):
                picked = rng.integers(0, len(population), classes)
                groups = [population[k][rng.integers(0, len(population[k]), images)] for k in picked]
                for pool, kept in hits.items():
                    parts = Components(between, within)
                    truth = omega_squared(parts.pooled() if pool else parts)
                    one = omega_squared_over_classes(moments(groups), pool=pool)
                    kept.append(
                        np.atleast_1d((one.low <= truth) & (truth <= one.high))[np.atleast_1d(np.isfinite(one.low))]
                    )
        print(
            f"{classes} classes of {images}: sites {np.mean(np.concatenate(hits[True])):.3f}, "
            f"channels {np.mean(np.concatenate(hits[False])):.3f}"
        )


def shown(counts: Sequence[int]) -> str:
    """`4 × 50, 46 × 5:`."""
    sizes = list(dict.fromkeys(counts))
    return ", ".join(f"{list(counts).count(size)} × {size}" for size in sizes) + ":"


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    recording = open_recording(options.run)
    rng, real = np.random.default_rng(2), []
    for site in recording.sites:
        gates = site_gates(recording, site)
        columns = rng.permutation(gates.values.shape[1])[:CHANNELS]
        real.append([np.asarray(group[:, columns], dtype=np.float64) for group in gates.groups])
    levels([[group - group.mean(axis=0) + 0.5 for group in classes] for classes in real], options.runs)
    coverage(real, options.runs)


if __name__ == "__main__":
    main()
