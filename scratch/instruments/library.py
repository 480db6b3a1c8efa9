"""SciPy for the instruments that need it. The core runs without SciPy."""

from importlib import import_module

from scratch.options.errors import InputError


def scipy_module(name, wanted_for):
    """SciPy's module of this name. Raises InputError, which says how to install it, where SciPy is not installed."""
    try:
        return import_module(f"scipy.{name}")
    except ImportError as error:
        raise InputError(f"{wanted_for} needs SciPy ({error}): pip install scipy") from None
