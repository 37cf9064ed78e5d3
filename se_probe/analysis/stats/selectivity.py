"""Class selectivity index and d′ of channels, and their values by chance, from class moments."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from se_probe.analysis.stats.moments import Floats, Moments, unbiased_variance


@dataclass(frozen=True)
class Selectivity:
    """Comparison of the class with the highest mean and the rest, for each channel.

    Attributes:
        best: index of that class.
        index: class selectivity index, 0 … 1; NaN where a class mean is negative or all are 0.
        index_error: its standard error for the draw of images.
        d_prime: distance of the two means in standard deviations over images, 0 or more.
        d_prime_error: its standard error for the draw of images, as if gates were normal.
    """

    best: NDArray[np.int64]
    index: Floats
    index_error: Floats
    d_prime: Floats
    d_prime_error: Floats


def selectivity(moments: Moments) -> Selectivity:
    """Compare the class with the highest mean with the equal-weight mixture of all others.

    index = (µ_max − µ_rest) / (µ_max + µ_rest), designed for activations with a baseline of 0; small for gates near ½.
    d′ = (µ_max − µ_rest) / √((σ²_max + σ²_rest)/2), which can be large where the gate hardly moves. The highest class
    is chosen from the same images, so both are above 0 even by chance, see `selectivity_by_chance`. NaN for one class.

    Source: Morcos et al., On the importance of single directions for generalization, ICLR 2018; Green and
    Swets, Signal Detection Theory (1966), with unequal variances as in Simpson and Fitter, Psychological
    Bulletin 80 (1973). Errors by the delta method.
    """
    means, images = moments.mean, moments.count
    others = max(images.size - 1, 1)
    variance = unbiased_variance(images, moments.m2)
    noise = variance / images
    best = np.argmax(means, axis=-1)
    top, top_variance, top_noise = (_at(values, best) for values in (means, variance, noise))
    rest = _over_rest(means, best)
    deviation = means - rest[..., None]
    rest_noise = _over_rest(noise, best) / others
    # Class means of the rest also vary by noise, which is not variance over images.
    rest_variance = _over_rest(variance + deviation**2, best) - rest_noise * (others - 1)
    pooled = (top_variance + rest_variance) / 2
    spread_of_variance = 2 * variance**2 / np.maximum(images - 1, 1)
    of_pooled = _at(spread_of_variance, best) + _over_rest(spread_of_variance + 4 * deviation**2 * noise, best) / others
    with_difference = -_over_rest(deviation * noise, best) / others
    unit = np.where(pooled > 0, pooled, np.nan)
    d_prime = (top - rest) / np.sqrt(unit)
    square = (top_noise + rest_noise) / unit + d_prime**2 * of_pooled / (16 * unit**2)
    d_prime_error = np.sqrt(np.maximum(square - d_prime * with_difference / unit**1.5, 0.0))
    defined = (means.min(axis=-1) >= 0) & (top > 0)
    highest = np.where(defined, top, np.nan)
    index = (highest - rest) / (highest + rest)
    index_error = 2 * np.sqrt(rest**2 * top_noise + highest**2 * rest_noise) / (highest + rest) ** 2
    if images.size < 2:
        index, index_error, d_prime, d_prime_error = (np.full(top.shape, np.nan) for _ in range(4))
    return Selectivity(best, index, index_error, d_prime, d_prime_error)


def selectivity_by_chance(moments: Moments, *, draws: int = 999, seed: int = 0) -> tuple[Floats, Floats]:
    """Expected index and d′ of `selectivity` for each channel if classes did not differ.

    Under this null all classes have the channel's mean and its variance within classes, and gates are normal; d′ then
    depends on the counts alone. NaN for one class or where a class has one image, the index also where a class mean is
    negative.
    """
    means, images = moments.mean, moments.count
    within = np.mean(unbiased_variance(images, moments.m2), axis=-1)
    if images.size < 2 or images.min() < 2:
        return np.full_like(within, np.nan), np.full_like(within, np.nan)
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=(draws, images.size)) / np.sqrt(images)
    spreads = rng.chisquare(images - 1, size=drawn.shape)
    by_chance = selectivity(Moments(images, drawn, spreads))
    top, rest = _at(drawn, by_chance.best), _over_rest(drawn, by_chance.best)
    centre, sd = means.mean(axis=-1), np.sqrt(within)
    safe = np.where((means.min(axis=-1) >= 0) & (centre > 0), centre, np.nan)
    # For each channel, the mean over draws of the index of its drawn means.
    ratio = (sd / safe)[..., None]
    index = np.mean(ratio * (top - rest) / (2 + ratio * (top + rest)), axis=-1)
    return np.asarray(index), np.where(within > 0, np.mean(by_chance.d_prime), np.nan)


def _at(values: Floats, index: NDArray[np.int64]) -> Floats:
    return np.asarray(np.take_along_axis(values, index[..., None], axis=-1)[..., 0])


def _over_rest(values: Floats, best: NDArray[np.int64]) -> Floats:
    """Mean over all classes except the best."""
    return np.asarray((values.sum(axis=-1) - _at(values, best)) / max(values.shape[-1] - 1, 1))
