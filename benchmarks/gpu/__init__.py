"""Checks and measurements of se-probe on a CUDA device; `python -m benchmarks.gpu` runs them."""
