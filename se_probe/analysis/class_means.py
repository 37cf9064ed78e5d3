"""Mean gates of classes by channel, and pairs of classes, ordered by clustering."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from se_probe.analysis.classes import select_classes
from se_probe.analysis.protocols import RecordingLike
from se_probe.analysis.sampling import sample_channels, select_sites
from se_probe.analysis.stats.moments import Floats
from se_probe.analysis.stats.similarity import Clustering, cluster, rms_distance

HEATMAP_CHANNELS = 200


def clustered_class_means(
    recording: RecordingLike,
    site: str,
    classes: Sequence[str] | None = None,
    channels: int | None = HEATMAP_CHANNELS,
    seed: int = 0,
    *,
    order: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Mean gate of `classes` (None: all seen) in sampled channels (None: all) of a site.

    Args:
        recording: the recording.
        site: name of the site.
        classes: names of the classes; None: all seen.
        channels: number of channels to sample; None: all.
        seed: seed of the sampled channels.
        order: names of the classes in the order of their rows; None: by clustering.

    Returns:
        One row a class, branch and channel: `site`, `activation`, `site_channels`, `class`, `branch`, `channel`,
        `mean`, and the places `row` and `column` that average-linkage clustering gives to the class and to the
        channel, by the root mean square difference of their means. With `order`, classes stand in that order
        instead.

    Raises:
        SeProbeError: an unknown site, a class without images, or fewer than one channel.
    """
    (found,) = select_sites(recording.sites, [site])
    moments = recording.moments(site).compute()
    moments = moments if classes is None else select_classes(moments, classes)
    picked = sample_channels(found.channels, channels, seed)
    means = moments["mean"].isel(channel=picked).to_numpy().reshape(moments.sizes["class"], -1).astype(np.float64)
    names = moments["class"].to_numpy().astype(str)
    rows = _places(means) if order is None else np.array([list(order).index(name) for name in names])
    columns = _places(means.T)
    size = means.shape[1]
    return pd.DataFrame(
        {
            "site": site,
            "activation": found.activation,
            "site_channels": found.channels,
            "class": np.repeat(names, size),
            "branch": np.tile(np.repeat(np.arange(found.branches), len(picked)), len(names)),
            "channel": np.tile(picked, len(names) * found.branches),
            "mean": means.ravel(),
            "row": np.repeat(rows, size),
            "column": np.tile(columns, len(names)),
        }
    )


def pair_table(similarity: xr.Dataset, clustering: Clustering) -> pd.DataFrame:
    """The matrices of `class_similarity` as one row a pair of classes, each pair in both directions.

    After `class` and `other` their places `row` and `column` among the leaves of `clustering`.
    """
    place = np.argsort(clustering.order)
    table = similarity.to_dataframe(dim_order=["class", "other"]).reset_index()
    table.insert(2, "row", np.repeat(place, len(place)))
    table.insert(3, "column", np.tile(place, len(place)))
    return table


def _places(vectors: Floats) -> NDArray[np.int64]:
    """Place of each vector among the leaves; that of the only one is 0."""
    if len(vectors) < 2:
        return np.zeros(len(vectors), dtype=np.int64)
    return np.asarray(np.argsort(cluster(rms_distance(vectors)).order))
