"""The bottlenecks: the one part in which the systems differ.

Every file here is imported, so a new bottleneck needs no entry in a list. The files' classes are names of this package.
"""

import importlib
import inspect
import pkgutil

from scratch.module import Module

__all__ = []


def _gather(package):
    """Add the classes that the modules of `package` define to the names of this package."""
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(found.name)
        if found.ispkg:
            _gather(module)
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, Module) and kind.__module__ == module.__name__:
                globals()[name] = kind
                __all__.append(name)


_gather(importlib.import_module(__name__))
