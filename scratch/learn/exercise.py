"""An exercise, read from its one file: the student's file, the solution, the hints, and what is to be filled in."""

import ast
import importlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from scratch.learn.lessons import NAMES, lesson_of
from scratch.options.errors import InputError
from scratch.options.option import nearest

YOURS, INSTEAD, END = "# yours:", "# instead:", "# end"  # exercises/__init__.py says what they mean
FOR_THE_CHECKER = "# --- for the checker"
TITLE = re.compile(r'^# Exercise "(\w+)"', re.M)  # the first line of a student's file
SAVED = "saved"  # what forward returns last, and backward takes last


@dataclass(frozen=True)
class Function:
    """A function of an exercise.

    asked      {name: what it is}: the variables that the student's file asks for, in their order
    returned   the names of what it returns; forward's `saved` is not among them
    """

    name: str
    arguments: tuple
    asked: dict
    returned: tuple

    @property
    def rows(self):
        """The names that are compared: those asked for, in their order, then what else is returned."""
        return tuple(dict.fromkeys((*self.asked, *self.returned)))

    @property
    def returns(self):
        """What `return` has to be followed by."""
        return ", ".join((*self.returned, SAVED) if self.name == "forward" else self.returned)


class Exercise:
    """An exercise by its name. Raises InputError for a name that does not exist, with the nearest that does.

    module      the right functions, and the checker's part: HINTS, cases, perhaps ROUNDING
    functions   {name: Function} of the functions that are called, in the order in which they are called
    """

    def __init__(self, name):
        if name not in NAMES:
            raise InputError(f"no exercise is called {name!r}{nearest(name, NAMES)}")
        self.name, self.lesson = name, lesson_of(name)
        self.module = importlib.import_module(f"scratch.learn.exercises.{name}")
        self.source = files("scratch.learn.exercises").joinpath(f"{name}.py").read_text(encoding="utf-8")
        self.functions = functions_of(self.name, self.text(solved=True), self.text(solved=False))

    @property
    def hints(self):
        return self.module.HINTS

    @property
    def title(self):
        """What the exercise is about: the first line of its text."""
        return self.module.__doc__.split("\n")[0].rstrip(".")

    @property
    def asked(self):
        """The names of the functions in which something is to be filled in."""
        return tuple(name for name, function in self.functions.items() if function.asked)

    def template(self, command):
        """The student's file; `command` is what checks it."""
        lines = [f'# Exercise "{self.name}", lesson {self.lesson.number}. Fill in what is marked TODO, then run',
                 f"#     {command}"]
        if "backward" in self.functions:
            lines.append("# L is one number, computed from what forward returns. dx is ∂L/∂x, and has the shape of x.")
        return "\n".join([*lines, self.text(solved=False)])

    def text(self, solved):
        """The file without the checker's part, with the right lines or with those that stand for them."""
        shown, part = [], None
        for line in self.source.split("\n"):
            mark = line.strip()
            if mark.startswith(FOR_THE_CHECKER):
                break
            if mark in (YOURS, INSTEAD, END):
                part = None if mark == END else mark
            elif part is None or (part == YOURS and solved):
                shown.append(line)
            elif part == INSTEAD and not solved:
                shown.append(re.sub(r"^( *)# ?", r"\1", line))
        return "\n".join(shown).rstrip() + "\n"


@cache
def exercise(name):
    """The Exercise of this name."""
    return Exercise(name)


def exercise_of(text):
    """The name of the exercise that a student's file says it is; None where it says nothing."""
    found = TITLE.search(text)
    return found[1] if found else None


def functions_of(name, solution, template):
    """{name: Function}, read from the solution and the student's file: forward and backward, or one function that is
    called as the exercise is."""
    solved, to_do = defined(solution), defined(template)
    called = ("forward", "backward") if "forward" in solved else (name,)
    described = dict(re.findall(r"^ *(\w+) = \.\.\.  # TODO (.*)$", template, re.M))
    functions = {}
    for one in called:
        asked = [node.targets[0].id for node in ast.walk(to_do[one])
                 if isinstance(node, ast.Assign) and is_ellipsis(node.value)]
        (last,) = [node.value for node in ast.walk(solved[one]) if isinstance(node, ast.Return)]
        returned = last.elts if isinstance(last, ast.Tuple) else [last]
        returned = [part.id for part in (returned[:-1] if one == "forward" else returned)]
        arguments = tuple(argument.arg for argument in solved[one].args.args)
        functions[one] = Function(one, arguments, {row: described[row] for row in asked}, tuple(returned))
    return functions


def defined(text):
    """{name: syntax tree} of the functions of a file."""
    return {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}


def is_ellipsis(node):
    """Does the expression stand for "..."?"""
    return isinstance(node, ast.Constant) and node.value is ...
