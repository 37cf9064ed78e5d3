"""Recordings: gates over labelled images, on disk and back.

The public names are in `__init__.pyi`. Each is imported when it is first used, so that looking for a recording does not
wait for torch.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
