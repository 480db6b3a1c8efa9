"""Faster forms of the plain code. Their results are equal up to rounding.

Read the plain code for the mathematics; here is only machinery. `accelerate` changes the class of some layers to one
whose forward and backward compute the same in another order, and `accelerate_on_gpu` to one with fewer kernels.
cpu/workers.py shares a batch among threads, and cpu/memory.py keeps freed memory. The option plain turns all this off.
"""

import numpy as np

from scratch.accelerate.blocks import HELD_ON_CPU, HELD_ON_GPU
from scratch.accelerate.cpu import blockwise_optim, winograd
from scratch.accelerate.cpu.attention import ColumnwiseAttention
from scratch.accelerate.cpu.blocks import BlockwiseWindow
from scratch.accelerate.cpu.elementwise import BlockwiseGELU, ClippedReLU, LayerNormByProducts
from scratch.accelerate.cpu.norms import BatchNormByChannels, GroupNormByChannels
from scratch.accelerate.cpu.planes import ConvToFewChannels, to_few_channels
from scratch.accelerate.cpu.pooling import DisjointMaxPool2d, UpsampleByRows, disjoint, pool_first
from scratch.accelerate.gpu.forms import form_on_gpu
from scratch.accelerate.gpu.kernels import KernelWindow
from scratch.accelerate.gpu.sums import column_sums
from scratch.arrays import array_module
from scratch.bottlenecks import VectorQuantizer
from scratch.layers import (
    GELU,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    GroupNorm,
    LayerNorm,
    MaxPool2d,
    MultiheadAttention,
    ReLU,
    Upsample,
)
from scratch.layers.patches import Window
from scratch.module import Sequential

CONVOLUTIONS = {Conv2d: winograd.WinogradConv2d, ConvTranspose2d: winograd.WinogradConvTranspose2d}
ALWAYS = {GELU: BlockwiseGELU, LayerNorm: LayerNormByProducts, MultiheadAttention: ColumnwiseAttention,
          BatchNorm2d: BatchNormByChannels, GroupNorm: GroupNormByChannels, ReLU: ClippedReLU, Upsample: UpsampleByRows}


def accelerate(module, least_channels=None):
    """Change each part of the module to its faster form for the CPU, if there is one. Returns the module.

    least_channels: of the image of a convolution in fewer products. None for what was measured, which also leaves some
    convolutions to another form.
    """
    for part in module.modules():
        window = getattr(part, "window", None)
        if isinstance(part, Sequential):  # before its layers are reached
            pool_first(part)
        elif type(part) is Conv2d and least_channels is None and to_few_channels(part):
            part.__class__ = ConvToFewChannels
        elif type(part) in CONVOLUTIONS and winograd.fits(part, least_channels):
            part.__class__ = CONVOLUTIONS[type(part)]
        elif type(part) is MaxPool2d and disjoint(part):
            part.__class__ = DisjointMaxPool2d
        elif type(part) in ALWAYS:
            part.__class__ = ALWAYS[type(part)]
        elif isinstance(part, VectorQuantizer):
            part.held = HELD_ON_CPU
        elif window is not None and window.dilation == (1, 1):
            window.__class__ = BlockwiseWindow
    return module


def back_to_plain(module):
    """Give each part of the module that has a faster form its plain form again. Returns the module."""
    plain = {fast: slow for slow, fast in (CONVOLUTIONS | ALWAYS).items()}
    for part in module.modules():
        part.__class__ = plain.get(type(part), getattr(type(part), "plain", type(part)))
        for name in ("held", "column_sums"):  # its class has the plain ones
            vars(part).pop(name, None)
        if hasattr(part, "window"):
            part.window.__class__ = Window
    return module


def accelerate_on_gpu(module):
    """Change each part of the module to the form that starts fewer kernels on a GPU. Returns the module."""
    for part in module.modules():
        part.__class__ = form_on_gpu(type(part))
        if hasattr(part, "window"):
            part.window.__class__ = KernelWindow
        if hasattr(part, "column_sums"):
            part.column_sums = column_sums
        if isinstance(part, VectorQuantizer):
            part.held = HELD_ON_GPU
    return module


def accelerate_optimizer(optimizer):
    """The optimiser, changed to its faster form: block by block on a CPU, with one kernel for each parameter on a GPU.
    """
    own, values = type(optimizer), [parameter.value for parameter in optimizer.parameters.values()]
    on_cpu = all(array_module(value) is np for value in values)
    optimizer.__class__ = blockwise_optim.FORMS.get(own, own) if on_cpu else form_on_gpu(own)
    if on_cpu and own in blockwise_optim.FORMS:
        optimizer.share_among(1)
    return optimizer
