"""Pairs of an encoder and a decoder, for any bottleneck between them. Every module of this folder is imported here, so
that each network in it is in `NETWORKS`."""

from importlib import import_module
from pkgutil import iter_modules

from torch_ref.networks.network import NETWORKS

__all__ = ["NETWORKS"]

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)
