"""Gates while a network is trained."""

from se_probe.training.watch import Watch, watch

__all__ = ["Watch", "watch"]
