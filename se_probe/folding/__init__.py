"""Folding: replace gates by constants, and the constants by scaled weights of neighbouring layers."""

from se_probe.folding.saved import load_folded, write_folded
from se_probe.folding.surgery import Folded, SiteFold, fold_gates

__all__ = ["Folded", "SiteFold", "fold_gates", "load_folded", "write_folded"]
