"""Record and analyse the channel gates of neural networks.

>>> import se_probe
>>> recording = se_probe.excite("goldfish,pug,plane,cliff", data="imagenet/val")
>>> recording.gates("SE_5_2")  # (image, channel)

The public names are in `__init__.pyi`. Each is imported when it is first used, so that `import se_probe` does not wait
for torch.
"""

from importlib.metadata import version

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
__version__ = version("se-probe")
