"""The bottlenecks: the one part in which the systems differ. Feature maps are (N, C, H, W).

Every module of this folder is imported here, so that each system in it is in `Bottleneck.systems`.
"""

from importlib import import_module
from pkgutil import walk_packages

from torch_ref.bottlenecks.bottleneck import Bottleneck

__all__ = ["Bottleneck"]

for _module in walk_packages(__path__, f"{__name__}."):
    import_module(_module.name)
