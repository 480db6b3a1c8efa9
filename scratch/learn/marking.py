"""Mark an exercise: the student's functions beside the right ones, on the same random inputs."""

import inspect
import linecache
import os
import re
import warnings
from pathlib import Path

import numpy as np

from scratch.gradcheck.diagnosis import looks_like
from scratch.learn.comparison import LEFT, ROUNDING, UNREACHED, an, compare, count, largest, worst
from scratch.learn.exercise import exercise
from scratch.learn.own_process import check_file
from scratch.learn.report import Report
from scratch.learn.shares import by_names, sizes_of, terms_of
from scratch.learn.source import Source, about_adding, in_words
from scratch.learn.tracing import call, changed, code_of, copied
from scratch.options.errors import InputError

PLAIN = (0, 0.25, 0.5, 1, 2, 3, 4)  # a size of 2 and a forgotten ½ look alike; then the plain number is named


def check(what, *functions, **named):
    """Mark an exercise; a Report, which is true where the exercise is done and prints as a table.

    what        the name of an exercise, followed by one's own functions: check("linear", backward) or
                check("linear", forward=..., backward=...). Functions are recognised by their names. A forward for which
                the exercise does not ask may be left out.
                Or the file of an exercise, as `python -m scratch learn start` writes it: check("exercises/linear.py").
                It runs in a process of its own, with a time limit.

    Raises InputError, a ValueError, for a name or a file that does not exist, and for functions that do not belong to
    the exercise.
    """
    if not functions and not named and (isinstance(what, Path) or what.endswith(".py") or os.sep in what):
        return check_file(what)
    task, given = exercise(what), dict(named)
    for function in functions:
        name = getattr(function, "__name__", "")
        if name not in task.functions and len(functions) == len(task.asked) == 1 and not named:
            (name,) = task.asked  # the only one it can be
        given[name] = function
    if set(given) - set(task.functions) or set(task.asked) - set(given):
        raise InputError(f"the exercise {what} asks for {' and '.join(task.asked)}, got "
                         f"{', '.join(filter(None, given)) or 'no function'}: write "
                         f'check("{what}", {", ".join(task.asked)}), or give the name of a file')
    for name, function in given.items():
        if not callable(function):
            raise InputError(f"{name} has to be a function, got {an(type(function).__name__)}")
    return check_functions(task, given)


def check_functions(task, given):
    """The Report of functions {name: function} that stand in the place of the exercise's own."""
    report, rng = Report(task.name), np.random.default_rng(0)
    files = {code.co_filename for function in given.values() if (code := code_of(function))}
    attempts, rows = [], {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number, inputs in enumerate(task.module.cases(rng)):
            attempt = Attempt(task, given, files, inputs, rng)
            report.inputs.append(attempt.shapes)
            attempts.append(attempt)
            try:
                attempt.run()
            except Stopped as stop:
                report.problems += [str(stop)] if str(stop) else []
            for row in attempt.rows:
                row.number = number
                rows.setdefault((row.function, row.name), []).append(row)
            if report.problems or attempt.stopped:
                break
    found = [worst(of_all_cases, report.inputs) for of_all_cases in rows.values()]
    report.rows = [row for row in found if row.function in task.asked or not row.right]
    with np.errstate(all="ignore"):
        explain(report.rows, attempts, given)
    for warning in caught:
        if warning.filename in files and issubclass(warning.category, RuntimeWarning):
            report.remarks.append(f"NumPy warned in line {warning.lineno}: {warning.message}.")
    report.remarks = list(dict.fromkeys(report.remarks))
    return report


class Stopped(Exception):
    """A function could not be called, or its result not be compared. The sentence says why; it is empty where nothing
    but a TODO stands in the way."""


class Attempt:
    """One case: the right functions are called, then the student's, and their variables compared.

    shapes     the inputs in words
    rows       the comparison.Rows found so far, also where a function stops half-way
    right      {function: {variable: value}} of the right functions
    upstream   {output: ∂L/∂output}, drawn from N(0, 1)
    """

    def __init__(self, task, given, files, inputs, rng):
        self.task, self.given, self.files, self.inputs, self.rng = task, given, files, inputs, rng
        self.rounding = getattr(task.module, "ROUNDING", ROUNDING)
        self.shapes = ", ".join(f"{name} {value.shape if isinstance(value, np.ndarray) else value}"
                                for name, value in inputs.items() if not callable(value))
        self.rows, self.right, self.upstream, self.stopped = [], {}, {}, False

    def run(self):
        """Raises Stopped where a function stops."""
        first, *rest = self.task.functions.values()
        self.passed = copied(self.inputs.values())
        right = self.call_right(first, copied(self.inputs.values()))
        saved = self.mark(first, self.passed)
        for backward in rest:
            self.upstream = {name: self.rng.standard_normal(np.shape(self.right[first.name][name]))[()]
                             for name in first.returned}
            self.call_right(backward, [*copied(self.upstream.values()), right])
            self.mark(backward, [*copied(self.upstream.values()), saved])

    def call_right(self, function, values):
        """Call a right function and keep its variables; what it saved."""
        with np.errstate(all="ignore"):  # whatever the student's file has set
            result, variables, error = call(getattr(self.task.module, function.name), values)
        if error:
            raise error
        parts = result if isinstance(result, tuple) else (result,)
        self.right[function.name] = variables | dict(zip(function.returned, parts, strict=False))
        return parts[-1]

    def mark(self, function, values):
        """Call the student's function and compare; what it saved. Raises Stopped."""
        theirs = self.given.get(function.name, getattr(self.task.module, function.name))
        self.check_signature(function, theirs, len(values))
        before = copied(values[: len(function.arguments) - (function.name == "backward")])
        result, variables, error = call(theirs, values)
        if error:
            given = {id(argument) for argument in values}  # still what they were when the function was called
            reached = {name: value for name, value in variables.items() if id(value) not in given}
            self.compare(function, dict.fromkeys(function.rows, UNREACHED) | reached)
            self.stopped = True
            raise Stopped(self.why(error, function))
        parts = self.parts(function, result, variables)
        self.compare(function, variables | dict(zip(function.returned, parts, strict=False)))
        self.check_unchanged(function, before, values)
        self.check_repeatable(function, theirs, values, parts)
        return parts[-1]

    def compare(self, function, variables):
        right = self.right[function.name]
        scale = max(largest(right[name]) for name in function.rows)
        for name in function.rows:
            row = compare(function.name, name, variables.get(name, LEFT), right[name], scale, self.rounding,
                          name in function.returned)
            row.gradient = function.asked.get(name, "").startswith("∂")
            self.rows.append(row)

    def check_signature(self, function, theirs, count_given):
        """Raises Stopped if a function does not take the arguments of its exercise."""
        try:
            inspect.signature(theirs).bind(*[None] * count_given)
        except TypeError as error:
            self.stopped = True
            raise Stopped(f"{function.name} cannot be called as {function.name}({', '.join(function.arguments)}): "
                          f"{error}.") from None
        except ValueError:  # a function that has no signature
            pass

    def parts(self, function, result, variables):
        """What a function returned, as a tuple. Raises Stopped if it is not what was expected."""
        wanted = len(function.returned) + (function.name == "forward")
        parts = tuple(result) if isinstance(result, tuple | list) and wanted > 1 else (result,)
        if len(parts) == wanted and not (wanted == 1 and isinstance(result, tuple | list)):
            return parts
        self.compare(function, variables)
        for row in self.rows:
            if row.function == function.name and row.returned and row.right:
                row.returned = False  # as a variable it is right, but it was not returned
        self.stopped = True
        got = "None" if result is None else f"{len(result)} values" if isinstance(result, tuple | list) else \
            an(type(result).__name__.replace("ndarray", "array"))
        raise Stopped(f"{function.name} returned {got}, expected {count(wanted, 'value')}: end it with "
                      f"`return {function.returns}`.")

    def check_unchanged(self, function, before, after):
        """Raises Stopped if a function changed what it was given, or what forward was given."""
        of_forward = zip(self.inputs, self.inputs.values(), self.passed, strict=True)
        for name, was, now in [*zip(function.arguments, before, after, strict=False), *of_forward]:
            if changed(was, now):
                raise Stopped(f"{function.name} changes {name}, which it was given, and others may still need it: "
                              f"write {name} = {name} * 2 rather than {name} *= 2, and copy before you assign to a "
                              f"part.")

    def check_repeatable(self, function, theirs, values, parts):
        """Raises Stopped if a function returned something wrong and returns something else when called again."""
        if all(row.right for row in self.rows if row.function == function.name and row.returned):
            return
        result, _, error = call(theirs, copied(values))
        again = result if isinstance(result, tuple | list) else (result,)
        for name, first, second in zip(function.returned, parts, again, strict=False):
            if not error and changed(first, second):
                raise Stopped(f"{function.name} returns a different {name} each time it is called. Does it draw "
                              f"random numbers? Use those that it is given.")

    def why(self, error, function):
        """A sentence about an exception; "" if the line in which it happened waits for a TODO."""
        trace = error.__traceback__
        while trace:
            frame, line = trace.tb_frame, trace.tb_lineno
            if frame.f_code.co_filename in self.files:
                code = linecache.getline(frame.f_code.co_filename, line)
                if any(frame.f_locals.get(name) is ... for name in re.findall(r"[^\W\d]\w*", code)):
                    return ""
            trace = trace.tb_next
        return in_words(error, self.files, function.name)


def explain(rows, attempts, given):
    """Say of each wrong Row where it stands in the student's source, and from which other wrong one it follows, or else
    what it looks like."""
    sources = {}
    for row in rows:
        attempt = attempts[row.number]
        if row.function not in given:
            continue
        function = attempt.task.functions[row.function]
        if row.function not in sources:
            sources[row.function] = Source(given[row.function], function.returned)
        source = sources[row.function]
        row.line = source.lines.get(row.name)
        if not row.wrong:
            continue
        origins = source.comes_from(row.name)
        wrong = [one.name for one in rows if one.wrong and one.function == row.function and one.name in origins]
        first = [name for name in wrong if not source.comes_from(name) & {*wrong, row.name}]
        row.follows = first[0] if first else ""
        if not row.follows:
            found = finding(row, attempt)
            if found is None or found.kind == "part":  # then what the code does explains more
                row.advice = about_adding(row.name, source, Source(getattr(attempt.task.module, row.function)))
            row.finding = said(found, row.gradient) if found and not row.advice else ""
        if not function.asked:
            row.advice = f"{row.function} was given, and was right: what has changed in it?"


def finding(row, attempt):
    """What a wrong variable looks like, as a diagnosis.Finding; None where nothing fits, or where no numbers can be
    compared."""
    claimed = row.claimed
    if not isinstance(claimed, np.ndarray) or not claimed.dtype == row.expected.dtype == np.float64:
        return None
    if not claimed.size or not np.isfinite(claimed).all():
        return None
    task, right = attempt.task, attempt.right
    known = {name: value for variables in right.values() for name, value in variables.items()
             if isinstance(value, np.ndarray) and value.dtype.kind == "f" and name != "saved"}
    rows = task.functions[row.function].rows
    gradients = dict(zip(rows, rows, strict=True)) | {f"d{name}": name for name in attempt.upstream}
    tensor = {name: name[1:] if name[0] == "d" and name[1:] in known else name for name in rows}  # mu for dmu
    others = {tensor[name]: known[name] for name in rows if name != row.name and name in known}
    loops = Source(getattr(task.module, row.function)).loops
    numbers = {name: value for name, value in (attempt.inputs | right[row.function]).items()
               if isinstance(value, int | float) and name not in {*loops, *gradients}}
    sizes = sizes_of(task.module.__doc__, known) | numbers
    function, variables, called = getattr(task.module, row.function), right[row.function], by_names(gradients)
    if not row.gradient:  # a formula that the exercise states; what it reassigns, such as m of Adam, was an input
        arrays = {name: name for name, value in attempt.inputs.items() if isinstance(value, np.ndarray)}
        variables, called = variables | attempt.inputs, by_names(arrays, "the rest")
    return looks_like(
        claimed, row.expected, name=tensor[row.name], precision=1e-9, others=others, upstream=attempt.upstream,
        arrays={name: value for name, value in known.items() if name not in gradients},
        constants={name: value for name, value in sizes.items() if value not in PLAIN},
        terms=terms_of(function, row.name, row.expected, variables, called))


def said(found, gradient):
    """A Finding in words. Those about values that are no gradients are said more carefully, or not at all."""
    if gradient:
        return str(found)
    if found.kind == "difference":
        return f"is wrong: {found.evidence}"
    if found.kind == "terms":
        return f"looks like {found.what}".replace("the right gradient", "the right one")
    if found.kind in ("factor", "zero", "order", "precision"):
        return str(found).replace("the right gradient", "the right one")
    return ""
