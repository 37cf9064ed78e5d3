"""Tables of a recording: class-wise statistics of every site and channel, and a summary of the sites."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from se_probe.analysis.curves import class_statistics, reference_statistics, select_classes, statistics_table
from se_probe.analysis.gates import class_spreads, site_moments
from se_probe.analysis.protocols import RecordingLike, SiteLike
from se_probe.analysis.stats.moments import equal_weight_mean, sample_variance

CLASS_COLUMNS = ("site", "branch", "channel", "class", "role", "count", "mean", "variance", "standard_error")
SITE_FACTS = ("module", "family", "stage", "block", "channels", "branches", "activation", "reduction")


def class_table(recording: RecordingLike, classes: Sequence[str] | None = None) -> pd.DataFrame:
    """Class-wise mean and variance for every site, branch and channel, and for all classes together.

    `classes` defaults to the chosen ones, since 1000 classes of SE-ResNet-50 are 15 million rows. Columns as in
    `excitation_curves`, the unbiased variance in the place of its square root.

    Raises:
        SeProbeError: a class without images.
    """
    names = recording.chosen if classes is None else classes
    tables = []
    for site in recording.sites:
        moments = recording.moments(site.name).compute()
        chosen = statistics_table(class_statistics(select_classes(moments, names)))
        reference = statistics_table(reference_statistics(moments))
        tables += [chosen.assign(site=site.name, role="class"), reference.assign(site=site.name, role="reference")]
    return pd.concat(tables, ignore_index=True)[list(CLASS_COLUMNS)]


def site_table(recording: RecordingLike) -> pd.DataFrame:
    """One row a site, in network order: its facts, the mean of its gates and their spreads.

    After the site's facts come `classes` and `images` seen; `mean`, over classes with equal weights and over channels
    (of all branches); `channel_sd`, the unbiased standard deviation between the means of channels; `between_class_sd`
    and `within_class_sd` as in `gates.class_spreads`, NaN where no class has two images. All three near zero is a
    collapsed gate. `lowest` and `highest` bound the means of the chosen classes.
    """
    return pd.DataFrame([_site_row(recording, site) for site in recording.sites])


def recording_tables(recording: RecordingLike) -> dict[str, pd.DataFrame]:
    """Return the tables of sites and of class-wise statistics by the name of their file, compressed for its size."""
    return {"sites.csv": site_table(recording), "class_statistics.csv.gz": class_table(recording)}


def _site_row(recording: RecordingLike, site: SiteLike) -> dict[str, object]:
    moments, several = recording.moments(site.name).compute(), site_moments(recording, site)
    chosen = select_classes(moments, recording.chosen)["mean"]
    channels = equal_weight_mean(moments["mean"].transpose(..., "class")).ravel()
    return {
        "site": site.name,
        **{name: getattr(site, name) for name in SITE_FACTS},
        "classes": moments.sizes["class"],
        "images": int(moments["count"].sum()),
        "mean": float(channels.mean()),
        "channel_sd": float(np.sqrt(sample_variance(channels))),
        **class_spreads(several.components, len(several.names)),
        "lowest": float(chosen.min()),
        "highest": float(chosen.max()),
    }
