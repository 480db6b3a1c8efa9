"""The table of gradients: every case, measured by finite differences and, in torch_ref, by autograd as well."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from scratch.gradcheck.blame import culprits, of_error, place_of
from scratch.gradcheck.cases import CASES, by
from scratch.gradcheck.diagnosis import Finding
from scratch.gradcheck.differences import BOUND, Trial, attempt, disagreement, finite_differences
from scratch.gradcheck.explain import explain
from scratch.gradcheck.properties import broken_property, replaces_gradients
from scratch.gradcheck.whole_model import trial_of
from scratch.models.system import find_system
from scratch.options.errors import InputError
from scratch.options.option import nearest


@dataclass(frozen=True)
class Column:
    """A way to check a gradient: `measure(case, trial, rng)` gives {tensor name: difference}; each should be ≤ bound.
    """

    title: str
    bound: float
    measure: Callable


UNKNOWN = "it looks like no mistake that is known here"
FINITE_DIFFERENCES = Column("finite differences", BOUND, lambda case, trial, rng: finite_differences(trial, rng))


@dataclass(frozen=True)
class Row:
    """The differences that the columns measure for one tensor's gradient.

    reason    another cause of failure: a wrong shape, an exception, a property that the values of forward lack
    finding   what the wrong gradient looks like, where that is known
    where     the method that is wrong, with file and line
    """

    name: str
    detail: str
    tensor: str
    shape: tuple
    differences: dict  # column title -> difference
    ok: bool
    reason: str = ""
    finding: Finding | None = None
    where: str = ""

    def as_data(self):
        """The row as JSON has it."""
        data = asdict(self)
        if self.finding:
            data["finding"]["text"] = str(self.finding)
        return data

    def diagnosis(self):
        """What is wrong, in words; "" if nothing is known."""
        said = [text for text in (self.reason, str(self.finding) if self.finding else "") if text]
        return "; ".join(said)


def run_case(case, seed=0, columns=(FINITE_DIFFERENCES,)):
    """A Row for each tensor of the case. All columns measure the same trial.

    If backward is the derivative of a surrogate whose values are not those of forward, every row fails. An exception
    gives a single row that fails. What a wrong gradient looks like is found by running the case again.
    """
    rng = np.random.default_rng(seed)
    try:
        operation = case.build(rng)
        trial = attempt(operation, rng)
    except Exception as error:  # whatever a wrong forward or backward raises
        return [Row(case.name, case.detail, "", (), {}, False, of_error(error))]
    return rows_of(case, trial, rng, columns)


def run_model(name):
    """A Row for each parameter of a whole small model of a system, and for the image. Raises InputError for an unknown
    name."""
    find_system(name)
    try:
        case, trial, rng = trial_of(name)
    except InputError:
        raise
    except Exception as error:
        return [Row(name, "whole model", "", (), {}, False, of_error(error))]
    return rows_of(case, trial, rng, (FINITE_DIFFERENCES,))


def rows_of(case, trial, rng, columns):
    """The rows of one trial; `case` has a name and a detail."""
    operation = trial.operation
    reasons = {name: reason for name, tensor in operation.tensors.items()
               if (reason := wrong_form(name, tensor, trial.gradients.get(name)))}
    measurable = Trial(operation, trial.upstream, {
        name: np.zeros_like(tensor) if name in reasons else trial.gradients[name]
        for name, tensor in operation.tensors.items()})
    disagrees = disagreement(measurable)
    measured = {column.title: column.measure(case, measurable, rng) for column in columns}
    rows = []
    for name, tensor in operation.tensors.items():
        differences = {} if name in reasons else {title: values[name] for title, values in measured.items()}
        reason = reasons.get(name, disagrees)
        ok = not reason and all(differences[column.title] <= column.bound for column in columns)
        rows.append(Row(case.name, case.detail, name, tensor.shape, differences, ok, reason))
    wrong = [row.tensor for row in rows if not row.ok]
    if wrong and not disagrees:
        notes = diagnosed(operation, wrong, trial, reasons)
        rows = [replace(row, **notes.get(row.tensor, {})) for row in rows]
    if disagrees:
        broken = property_missing(operation, broken_property, wrong)
        reason = f"{disagrees}; {broken}" if broken else disagrees
        return [replace(row, reason=reason, where=place_of(operation, "forward")) for row in rows]
    for check, method in ((replaces_gradients, "backward"), (broken_property, "forward")):
        reason = "" if wrong and check is replaces_gradients else property_missing(operation, check, wrong)
        if reason:
            return [*rows, Row(case.name, case.detail, method, (), {}, False, reason,
                               where=place_of(operation, method))]
    return rows


def property_missing(operation, check, wrong):
    """What a check of the operation's values says; an exception counts where no gradient is wrong already."""
    try:
        return check(operation)
    except Exception as error:
        return "" if wrong else of_error(error)


def wrong_form(name, tensor, gradient):
    """A sentence if a gradient is missing, has another shape than its tensor, or is not finite; else ""."""
    if gradient is None:
        return f"backward gives no gradient of {name}; expected one of shape {tensor.shape}"
    gradient = np.asarray(gradient)
    if gradient.shape != tensor.shape:
        return f"{name} has shape {tensor.shape}, its gradient {gradient.shape}"
    if gradient.dtype != tensor.dtype:
        return f"{name} is {tensor.dtype}, its gradient {gradient.dtype}: compute both in one precision"
    if not np.isfinite(gradient).all():
        count = int((~np.isfinite(gradient)).sum())
        return f"{count} of {gradient.size} numbers of the gradient of {name} are NaN or infinite"
    return ""


def diagnosed(operation, wrong, trial, reasons):
    """{tensor: {"finding": ..., "where": ..., "ok": ...}} of the rows that failed."""
    rng = np.random.default_rng(20_260_101)  # not the case's: equal draws would hide mistakes
    notes = {name: {"where": place_of(operation)} for name in wrong}
    try:
        parts = culprits(operation, rng)
        if parts:
            return notes | blame_parts(operation, wrong, parts, rng)
        named = [name for name in wrong if "NaN" not in reasons.get(name, "") and trial.gradients.get(name) is not None]
        for name, finding in explain(operation, named, rng).items():
            notes[name]["finding"] = finding
            if finding and finding.kind == "kink":
                notes[name]["ok"] = True
    except Exception:  # a diagnosis that cannot be made leaves the row as it is: FAILED
        return notes
    return notes


def blame_parts(operation, wrong, parts, rng):
    """Notes that name the parts whose own backward is wrong."""
    explained = {part: explain(own, tensors, rng) for part, own, tensors in parts}
    notes = {}
    for name in wrong:
        inside = [one for one in parts if name.removeprefix(f"{one[0]}.") in one[2]]
        others = [one for one in parts if not name.startswith(f"{one[0]}.")]
        part, own, tensors = (inside or others or parts)[0]
        inner = name.removeprefix(f"{part}.") if inside else tensors[0]
        finding = explained[part].get(inner)
        whose = f"the gradient of {inner} in its part {part}"
        if finding:
            finding = replace(finding, what=f"{finding.what} ({whose})")
        notes[name] = {"finding": finding, "where": f"in {part}: {place_of(own)}"}
    return notes


def chosen_cases(names):
    """The cases of these names, in any letter case; all of them if no name is given. Raises InputError for a name that
    does not exist."""
    known = {case.name.casefold(): case.name for case in CASES}
    for name in names:
        if name.casefold() not in known:
            near = nearest(name, known.values())
            near = f"{near} The names are" if near.endswith("?") else ": choose from"
            raise InputError(f"there is no operation {name!r} to check{near} {', '.join(known.values())}.")
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
            *(f"{row.differences[column.title]:.1e}" if column.title in row.differences else "—" for column in columns),
            verdict(row),
        ))
        previous = heading
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def verdict(row):
    """The last column."""
    if row.ok:
        return f"ok, {row.finding.what}" if row.finding else "ok"
    return f"FAILED: {row.reason}" if row.reason else "FAILED"


def failures(rows):
    """The rows that failed, whole: what was checked, its differences, what is wrong, what it looks like, and where."""
    paragraphs = []
    for row in rows:
        if row.ok:
            continue
        title = [row.name, f"({row.detail})" if row.detail else "", row.tensor, by(row.shape) if row.shape else ""]
        measured = [f"{name} {value:.1e}" for name, value in row.differences.items()]
        lines = [", ".join([f"{' '.join(part for part in title if part)}: wrong", *measured]), row.reason]
        lines += [str(row.finding) if row.finding else "" if row.reason else UNKNOWN]
        lines += [row.where]
        paragraphs.append("\n  ".join(line for line in lines if line))
    return "\n".join(paragraphs)


def summary(rows, columns):
    """One line: how many gradients were checked, and how many failed."""
    failed = sum(not row.ok for row in rows)
    worst = ", ".join(
        f"{column.title} {max((row.differences.get(column.title, 0.0) for row in rows), default=0.0):.1e} "
        f"(bound {column.bound:.0e})" for column in columns)
    return f"{len(rows)} gradients, {failed or 'none'} out of bounds; largest differences: {worst}"
