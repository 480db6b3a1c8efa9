"""Every layer, bottleneck and loss as a case to check: how it is built, which tensors it reads, where its kinks are."""

import importlib
import pkgutil

from scratch.gradcheck.cases.case import CASES, Case, add, by

__all__ = ["CASES", "Case", "add", "by"]

for _name in ("layers", *sorted(found.name for found in pkgutil.iter_modules(__path__))):  # layers come first
    importlib.import_module(f"{__name__}.{_name}")
