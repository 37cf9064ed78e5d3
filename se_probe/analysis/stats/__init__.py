"""Statistical kernels on plain float64 arrays, each with its source; labels are added a level above.

Kernels on `moments.Moments` have the class axis last. Kernels on gates have the image axis first.
"""
