"""What the instruments borrow from SciPy, which the light core does without."""

from importlib import import_module

from scratch.options.errors import InputError


def scipy_module(name, wanted_for):
    """SciPy's module of this name. Raises InputError, which says how to install it, where there is none."""
    try:
        return import_module(f"scipy.{name}")
    except ImportError as error:
        raise InputError(f"{wanted_for} needs SciPy ({error}): pip install scipy") from None
