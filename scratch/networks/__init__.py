"""Pairs of an encoder and a decoder that mirror each other, one file a family. Every file here is imported, so that a
new family is found by being there."""

import importlib
import pkgutil

for _found in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_found.name)
