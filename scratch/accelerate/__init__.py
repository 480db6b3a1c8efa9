"""Pure machinery, no mathematics: what makes the plain forms faster, with results equal to rounding.

The layers stay plain. `accelerate` gives some of them another class, whose forward and backward do the same in another
order; workers.py shares a batch among threads; memory.py keeps freed memory. `--plain` leaves all of it out.
"""

from scratch.accelerate import winograd
from scratch.accelerate.blocks import BlockwiseWindow
from scratch.layers import Conv2d, ConvTranspose2d

FORMS = {Conv2d: winograd.WinogradConv2d, ConvTranspose2d: winograd.WinogradConvTranspose2d}
LEAST_CHANNELS = 16  # on both sides of a convolution; with 8 nothing was gained, with 3 it took longer


def accelerate(module, least_channels=LEAST_CHANNELS):
    """Give each part of the module for which there is a faster form that form. Returns the module."""
    for part in module.modules():
        window = getattr(part, "window", None)
        if type(part) in FORMS and winograd.fits(part, least_channels):
            part.__class__ = FORMS[type(part)]
        elif window is not None and window.dilation == (1, 1):
            window.__class__ = BlockwiseWindow
    return module
