"""Every class of scratch that names elementwise formulas."""

from scratch import bottlenecks, layers, losses
from scratch.accelerate.gpu.forms import formulas
from scratch.layers.standardize import Standardizing
from scratch.losses import Reconstruction
from scratch.models.autoencoder import Autoencoder
from scratch.module import Module
from scratch.optim import Optimizer

ABSTRACT = {Standardizing}  # they compute nothing by themselves


def below(kind):
    """A class and all that inherit from it."""
    return {kind}.union(*(below(child) for child in kind.__subclasses__()))


def classes_with_formulas():
    """The plain classes: no forms of others, no abstract classes, and none that a test defines."""
    assert all((layers, bottlenecks, losses, Autoencoder, Reconstruction)), "imported, so that their classes exist"
    return {kind for kind in below(Module) | below(Optimizer)
            if formulas(kind) and kind not in ABSTRACT and "plain" not in vars(kind)
            and kind.__module__.startswith("scratch.") and not kind.__module__.startswith("scratch.accelerate.")}
