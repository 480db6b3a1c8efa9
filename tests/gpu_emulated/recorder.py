"""Records the calls of CuPy on the stand-in, and checks that the real CuPy accepts them.

    with recording() as calls:                # `import cupy` finds a stand-in that writes down every call
        trainer.step(images, epoch=1, step=0)
    [problem(call, real_cupy) for call in calls]      # None of each that the real one takes

A test on the stand-in shows that the arithmetic is right if the stand-in is like CuPy. This shows that it is like CuPy
in all that scratch uses: names, numbers of arguments, keywords, and the dtypes of a ufunc.
"""

import inspect
import re
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from tests.gpu_emulated import stand_in


@dataclass(frozen=True, order=True)
class Call:
    """One way of calling something: its dotted path in cupy, and all of its arguments that a signature mentions.

    An array is recorded as its dtype's character. Of any other argument only the position is kept, as "".
    """

    path: str
    arguments: tuple = ()
    keywords: tuple = ()  # pairs of a name and a dtype's character

    def __str__(self):
        given = [*(f"array({a})" if a else "…" for a in self.arguments), *(f"{name}=…" for name, _ in self.keywords)]
        return f"cupy.{self.path}({', '.join(given)})"


def character(value):
    return value.dtype.char if isinstance(value, stand_in.DeviceArray) else ""


class Noted:
    """A part of the stand-in that records its calls."""

    def __init__(self, found, path, calls):
        self._found, self._path, self._calls = found, path, calls

    def __getattr__(self, name):
        found = getattr(self._found, name)
        path = f"{self._path}.{name}" if self._path else name
        if isinstance(found, ModuleType | SimpleNamespace) or (callable(found) and not isinstance(found, type)):
            return Noted(found, path, self._calls)
        if not name.startswith("_"):
            self._calls.add(Call(path))  # a dtype or another value: that it is there is all there is to know
        return found

    def __call__(self, *args, **kwargs):
        note(self._calls, self._path, args, kwargs)
        result = self._found(*args, **kwargs)
        if isinstance(result, stand_in.Generator):
            return Noted(result, "random.Generator", self._calls)
        return result


def note(calls, path, args, kwargs):
    keywords = tuple(sorted((name, character(value)) for name, value in kwargs.items()))
    calls.add(Call(path, tuple(map(character, args)), keywords))


def noted_method(name, method, calls):
    def call(self, *args, **kwargs):
        note(calls, f"ndarray.{name}", (self, *args), kwargs)
        return method(self, *args, **kwargs)

    return call


@contextmanager
def recording():
    """Within a `with` block `import cupy` finds the stand-in, and every call of it is added to the set."""
    calls = set()
    methods = {*stand_in.METHODS, "get", "item", "tolist", "set", "fill"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stand_in, "cupy", Noted(stand_in.cupy, "", calls))  # operators are written down as its ufuncs
        for name in methods:
            method = getattr(stand_in.DeviceArray, name)
            patch.setattr(stand_in.DeviceArray, name, noted_method(name, method, calls))
        with stand_in.installed():
            yield calls


# --- the real one -----------------------------------------------------------------------------------------------------


def problem(call, real):
    """A sentence that says why the real CuPy does not accept a call; None if it does."""
    found = real
    for name in call.path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            return f"{call}: there is no {call.path}"
    if not callable(found) or isinstance(found, type):
        return None
    signature = signature_of(found)
    if signature is None:  # CUDA's own functions say nothing of their arguments
        return None if call.path.startswith("cuda.") else f"{call}: its signature is nowhere written down"
    arguments = call.arguments
    if next(iter(signature.parameters), "") == "self" and not call.path.startswith("ndarray."):
        arguments = ("", *arguments)  # the array itself is an ndarray method's first argument as it was recorded
    try:
        signature.bind(*arguments, **dict(call.keywords))
    except TypeError as error:
        return f"{call}: {error}, of {signature}"
    return loop_problem(call, found) if isinstance(found, real.ufunc) else None


def signature_of(found):
    """The signature of a function; for a compiled function, the one at the start of its docstring.

    Some of CuPy's Python functions take *args and **kwargs, and only the docstring says what these may be.
    """
    try:
        signature = inspect.signature(found)
    except ValueError:
        return written_signature(found)
    open_ended = any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in signature.parameters.values())
    return (written_signature(found) if open_ended else None) or signature


def written_signature(found):
    """`ndarray.swapaxes(self, Py_ssize_t axis1, Py_ssize_t axis2) -> ndarray` as a signature; None without such a line.

    A ufunc's reads `add(x1, x2, /, out=None, \\*, casting='same_kind', dtype=None)`, escaped for its web page.
    """
    first = (found.__doc__ or "").strip().partition("\n")[0]
    line = re.fullmatch(r"[\w.]+\((.*?)\)( -> .*)?", first)
    if line is None:
        return None
    parameters = re.sub(r"\b\w+ (?=\w)", "", line[1].replace("\\*", "*"))  # without the types of C
    return inspect.signature(eval(f"lambda {parameters}: None", {"numpy": np}))


def loop_problem(call, ufunc):
    """Why a ufunc has no loop for these dtypes; None if it has one. A loop reads "ff->f".

    A dtype can be given to a loop for one that is larger, as float32 for float64, and its result to a smaller `out` of
    the same kind.
    """
    out = dict(call.keywords).get("out", "") or "".join(call.arguments[ufunc.nin :])
    for loop in ufunc.types:
        into, result = loop.split("->")
        takes = all(np.can_cast(given, wanted) for given, wanted in zip(call.arguments, into, strict=False) if given)
        if takes and (not out or np.can_cast(result, out, "same_kind")):
            return None
    return f"{call}: no loop for these dtypes among {', '.join(ufunc.types)}"
