"""Which method is wrong: the module's own backward, or that of one of its parts? And where does it stand?"""

import inspect
import traceback
from pathlib import Path

import numpy as np

from scratch.bottlenecks import ReversedVectorQuantizer
from scratch.gradcheck.calls import names_of_parts, of_call, recorded
from scratch.gradcheck.differences import BOUND, attempt, disagreement
from scratch.gradcheck.numeric import slope_along

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent


def line_of(function):
    """ "scratch/layers/linear.py:56" of a function or method; "" where Python does not know it."""
    try:
        function = inspect.unwrap(getattr(function, "__func__", function))
        return f"{shown_path(inspect.getsourcefile(function))}:{function.__code__.co_firstlineno}"
    except (AttributeError, TypeError, OSError):
        return ""


def shown_path(path):
    """A path as it is shown: from the project's root, or its last part where it lies elsewhere."""
    path = Path(path).resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def place_of(operation, method="backward"):
    """ "Linear.backward, scratch/layers/linear.py:56" of an operation's method."""
    owner = operation.module
    function = operation.methods.get(method) or getattr(owner, method, None) or getattr(operation, method)
    name = getattr(function, "__qualname__", method).replace("<locals>.", "")
    line = line_of(function)
    return f"{name}, {line}" if line else name


def of_error(error):
    """ "ValueError in scratch/layers/linear.py:60: matmul: ..." of an exception, at the last line outside of this
    room."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if not Path(frame.filename).resolve().is_relative_to(HERE)
              and "site-packages" not in frame.filename and not frame.filename.startswith("<")]
    where = f" in {frames[-1].name}, {shown_path(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}: {' '.join(str(error).split())}"


def wrong_tensors(operation, rng):
    """The tensors whose gradients are wrong; [] if forward and surrogate disagree, or a kink is near."""
    trial = attempt(operation, rng)
    if disagreement(trial):
        return []
    wrong = []
    for name, tensor in operation.tensors.items():
        gradient = trial.gradients.get(name)
        if gradient is None or np.shape(gradient) != tensor.shape:
            wrong.append(name)
            continue
        for _ in range(2):
            d = rng.standard_normal(tensor.shape)
            numeric, half = (slope_along(operation, {name: d}, trial.upstream, step) for step in (1e-5, 5e-6))
            norm = float(np.linalg.norm(gradient)) or 1.0
            if abs(numeric - half) <= 10 * BOUND * max(norm, abs(numeric)):
                if not abs(numeric - float(np.sum(gradient * d))) <= 10 * BOUND * max(norm, abs(numeric)):
                    wrong.append(name)
                break
    return wrong


def culprits(operation, rng):
    """[(dotted name of a part, its Operation, its wrong tensors)]: the innermost parts whose own backward is wrong."""
    module = operation.module
    if module is None or not module.children():
        return []
    with recorded(module) as calls:
        operation.forward()
    for part in module.modules():
        part.saved = None
    names, found, blamed = names_of_parts(module), [], set()
    order = sorted(calls, key=lambda part: -names.get(part, "").count("."))
    for part in order:
        inside = set(list(part.modules())[1:])
        if inside & blamed or isinstance(part, ReversedVectorQuantizer):
            blamed |= {part} if inside & blamed else set()
            continue
        method, inputs = calls[part]
        try:
            own = of_call(part, *inputs, method=method)
            wrong = wrong_tensors(own, rng)
        except Exception:  # a part that cannot be called alone is not blamed
            continue
        finally:
            for one in part.modules():
                one.saved = None
        if wrong:
            found.append((names[part], own, wrong))
            blamed.add(part)
    return found


