"""Class-wise statistics with labels: `stats.moments` on a recording's moments."""

from collections.abc import Sequence

import xarray as xr

from se_probe.analysis.stats.moments import (
    equal_weight_mean,
    equal_weight_standard_error,
    equal_weight_variance,
    standard_error,
    unbiased_variance,
)
from se_probe.errors import SeProbeError


def class_statistics(moments: xr.Dataset) -> xr.Dataset:
    """Count, mean, unbiased variance and standard error of every class in `moments`.

    Returns:
        `count` (class) and `mean`, `variance`, `standard_error` (class, [branch,] channel) in float64. Variance and
        standard error are over images, and NaN for a class with a single image.
    """
    count, m2 = moments["count"], moments["m2"]
    return xr.Dataset(
        {
            "count": count,
            "mean": moments["mean"].astype("float64"),
            "variance": xr.apply_ufunc(unbiased_variance, count, m2),
            "standard_error": xr.apply_ufunc(standard_error, count, m2),
        }
    )


def reference_statistics(moments: xr.Dataset) -> xr.Dataset:
    """The same statistics for all classes of `moments` together, every class with the same weight.

    Returns:
        `count`, the number of images, and `mean`, `variance`, `standard_error`, with the single entry
        `reference_name(K)` along `class`. The variance is that of the equal-weight mixture of the K classes; it and
        the standard error are NaN where any class has a single image.
    """
    count, mean, m2 = moments["count"], moments["mean"], moments["m2"]
    over = ["class"]
    reference = xr.Dataset(
        {
            "count": count.sum("class"),
            "mean": xr.apply_ufunc(equal_weight_mean, mean, input_core_dims=[over]),
            "variance": xr.apply_ufunc(equal_weight_variance, count, mean, m2, input_core_dims=[over, over, over]),
            "standard_error": xr.apply_ufunc(equal_weight_standard_error, count, m2, input_core_dims=[over, over]),
        }
    )
    return reference.expand_dims({"class": [reference_name(moments.sizes["class"])]})


def reference_name(classes: int) -> str:
    """Name of the curve of all classes together, with their number."""
    return f"all classes ({classes})"


def select_classes(moments: xr.Dataset, names: Sequence[str]) -> xr.Dataset:
    """The moments of the classes `names`, in their order.

    Raises:
        SeProbeError: a class of which the recording has no image.
    """
    seen = {str(name) for name in moments["class"].values}
    missing = [name for name in names if name not in seen]
    if missing:
        raise SeProbeError(
            f"class '{missing[0]}' is not among the {len(seen)} classes of the recording; "
            "choose one that is, or record it with --classes"
        )
    return moments.sel({"class": list(names)})
