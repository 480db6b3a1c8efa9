"""The table of gradients: every case, measured by finite differences and, in torch_ref, by autograd as well."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scratch.gradcheck.cases import CASES, by
from scratch.gradcheck.differences import BOUND, attempt, disagreement, finite_differences
from scratch.options.errors import InputError


@dataclass(frozen=True)
class Column:
    """A way to check a gradient: `measure(case, trial, rng)` gives {tensor name: difference}; each should be ≤ bound.
    """

    title: str
    bound: float
    measure: Callable


FINITE_DIFFERENCES = Column("finite differences", BOUND, lambda case, trial, rng: finite_differences(trial, rng))


@dataclass(frozen=True)
class Row:
    """The differences that the columns measure for one tensor's gradient. A `reason` is another cause of failure."""

    name: str
    detail: str
    tensor: str
    shape: tuple
    differences: dict  # column title -> difference
    ok: bool
    reason: str = ""


def run_case(case, seed=0, columns=(FINITE_DIFFERENCES,)):
    """A Row for each tensor of the case. All columns measure the same trial.

    If backward is the derivative of a surrogate whose values are not those of forward, every row fails.
    """
    rng = np.random.default_rng(seed)
    trial = attempt(case.build(rng), rng)
    reason = disagreement(trial)
    measured = {column.title: column.measure(case, trial, rng) for column in columns}
    rows = []
    for name, tensor in trial.operation.tensors.items():
        differences = {title: values[name] for title, values in measured.items()}
        ok = not reason and all(differences[column.title] <= column.bound for column in columns)
        rows.append(Row(case.name, case.detail, name, tensor.shape, differences, ok, reason))
    return rows


def chosen_cases(names):
    """The cases of these names, in any letter case; all of them if no name is given. Raises InputError for a name that
    does not exist."""
    known = {case.name.casefold(): case.name for case in CASES}
    for name in names:
        if name.casefold() not in known:
            raise InputError(f"there is no operation {name!r} to check: choose from {', '.join(known.values())}.")
    wanted = {name.casefold() for name in names} or known.keys()
    return [case for case in CASES if case.name.casefold() in wanted]


def table(rows, columns):
    """The rows as aligned text; an operation's name and detail stand in its first row only."""
    lines = [("operation", "", "gradient of", "shape", *(column.title for column in columns), "")]
    previous = None
    for row in rows:
        heading = (row.name, row.detail)
        lines.append((
            *(heading if heading != previous else ("", "")),
            row.tensor,
            by(row.shape),
            *(f"{row.differences[column.title]:.1e}" for column in columns),
            "ok" if row.ok else f"FAILED: {row.reason}" if row.reason else "FAILED",
        ))
        previous = heading
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def summary(rows, columns):
    """One line: how many gradients were checked, and how many failed."""
    failed = sum(not row.ok for row in rows)
    worst = ", ".join(
        f"{column.title} {max(row.differences[column.title] for row in rows):.1e} (bound {column.bound:.0e})"
        for column in columns
    )
    return f"{len(rows)} gradients, {failed or 'none'} out of bounds; largest differences: {worst}"
