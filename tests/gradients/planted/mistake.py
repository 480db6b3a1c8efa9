"""A planted mistake: a line of the source that is replaced, and what a good checker says about it."""

import importlib
import inspect
import re
import textwrap
from contextlib import contextmanager
from dataclasses import dataclass

from scratch.gradcheck.cases import CASES
from scratch.gradcheck.table import run_case

MISTAKES = []


@dataclass(frozen=True)
class Mistake:
    """`old` becomes `new` in the source of `target`, such as scratch.layers.linear.Linear.backward.

    case    the operation whose cases are checked, up to the first that fails
    says    a regular expression that the diagnosis of a row that fails has to match
    about   the mistake in words
    """

    case: str
    target: str
    old: str
    new: str
    says: str
    about: str

    @property
    def name(self):
        return f"{self.case}: {self.about}"


def plant(case, target, *mistakes):
    """Add mistakes (about, old, new, says) of one method or function."""
    MISTAKES.extend(Mistake(case, f"scratch.{target}", old, new, says, about) for about, old, new, says in mistakes)


def found(target):
    """(owner, attribute, module) of a dotted name."""
    parts = target.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            module = owner = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:-1]:
            owner = getattr(owner, part)
        return owner, parts[-1], module
    raise ValueError(f"no module in {target}")


def rewritten(function, owner, module, old, new):
    """The function with `old` replaced in its source, on the same lines of the same file."""
    function = inspect.unwrap(function)
    lines, first = inspect.getsourcelines(function)
    source = textwrap.dedent("".join(lines))
    if source.count(old) != 1:
        raise ValueError(f"{old!r} stands {source.count(old)} times in {function.__qualname__}")
    indented = textwrap.indent(source.replace(old, new), "    ")
    text = "\n" * (first - 2) + f"def make(__class__):\n{indented}\n    return {function.__name__}\n"
    namespace = {}
    exec(compile(text, inspect.getsourcefile(function), "exec"), module.__dict__, namespace)
    wrong = namespace["make"](owner)
    wrong.__qualname__ = function.__qualname__
    return wrong


@contextmanager
def planted(mistake):
    """The mistake in the program, within the block."""
    owner, name, module = found(mistake.target)
    original = inspect.getattr_static(owner, name)
    plain = original.__func__ if isinstance(original, staticmethod) else original
    wrong = rewritten(plain, owner, module, mistake.old, mistake.new)
    replaced = [(owner, name, original)]
    setattr(owner, name, type(original)(wrong) if isinstance(original, staticmethod) else wrong)
    for kind in [one for one in vars(module).values() if inspect.isclass(one)]:  # where the formula is an attribute
        for attribute, value in list(vars(kind).items()):
            if isinstance(value, staticmethod) and value.__func__ is plain:
                replaced.append((kind, attribute, value))
                setattr(kind, attribute, type(value)(wrong))
    try:
        yield
    finally:
        for where, attribute, value in replaced:
            setattr(where, attribute, value)


def judged(mistake):
    """("named", "caught", "wrong" or "missed", what the checker says) of one planted mistake."""
    failed = []
    with planted(mistake):
        for case in CASES:
            if case.name == mistake.case and not failed:
                failed = [row for row in run_case(case) if not row.ok]
    if not failed:
        return "missed", ""
    said = [row.diagnosis() for row in failed if row.diagnosis()]
    if not said:
        return "caught", ""
    matching = [text for text in said if re.search(mistake.says, text)]
    if len(matching) == len(said):
        return "named", min(matching, key=len)
    wrong = [text for text in said if text not in matching]
    return ("wrong", wrong[0]) if any(row.finding for row in failed if row.diagnosis() in wrong) else (
        "named" if matching else "caught", said[0])
