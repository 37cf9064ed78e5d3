"""Statistical kernels on plain arrays, each with its source; labels are added a level above.

All arithmetic is float64. Kernels on moments take `count` (class), `mean` and `m2` (…, class): the last axis
runs over classes, as in `se_probe.analysis.stats.moments`. Kernels on gates take the image axis first.
"""
