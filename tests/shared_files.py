"""The real photographs and checkpoints beside the repository; tests that need them skip where they are not."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
TINY_IMAGENET = SHARED / "data" / "tiny-imagenet-50" / "val"
SAMPLE_120 = SHARED / "data" / "imagenet-sample-120"
MODELS = SHARED / "models"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the shared photographs are not at {SHARED}")
