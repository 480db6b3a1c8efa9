"""The families of networks, one file each: pairs of an encoder and a decoder that mirror each other.

Every file here is imported, so a new family needs no entry in a list.
"""

import importlib
import pkgutil

for _found in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_found.name)
