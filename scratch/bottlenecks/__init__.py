"""The bottlenecks: the one part in which the systems differ.

Every file here is imported, so that a new bottleneck is found by being there. Its public classes are names of this
package.
"""

import importlib
import inspect
import pkgutil

from scratch.module import Module

__all__ = []


def _gather(package):
    """Make the modules' own public classes names of this package."""
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(found.name)
        if found.ispkg:
            _gather(module)
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, Module) and kind.__module__ == module.__name__:
                globals()[name] = kind
                __all__.append(name)


_gather(importlib.import_module(__name__))
