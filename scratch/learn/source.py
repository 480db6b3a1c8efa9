"""What a student's function says in its source: where a variable is assigned, and from which others it is computed."""

import ast
import inspect
import linecache
import re
import textwrap
import traceback

import numpy as np

ADDS_AT = ("at",)  # np.add.at(total, places, values) adds to its first argument
WRITES = (*ADDS_AT, "put_along_axis", "copyto")  # these functions write into their first argument
MATMUL = re.compile(r"matmul: Input operand 1 has a mismatch .*\(size (\d+) is different from (\d+)\)")


class Source:
    """The source of a function; empty where it cannot be had, as of a function typed at a prompt.

    lines      {variable: line of its last assignment}
    adds       the variables to whose parts something is added, by `+=` or np.add.at
    replaced   {variable: line} where `=` assigns to a part of it inside of a loop
    buffered   {variable: line} where `+=` adds to a part of it outside of a loop
    loops      the variables over which loops run
    """

    def __init__(self, function, returned=()):
        self.lines, self.first, self.edges, self.replaced, self.buffered = {}, {}, set(), {}, {}
        self.adds, self.loops = set(), set()
        self.returned = returned
        try:
            text, first = inspect.getsourcelines(inspect.unwrap(function))
            tree = ast.parse(textwrap.dedent("".join(text)))
        except (OSError, TypeError, SyntaxError, ValueError):
            return
        ast.increment_lineno(tree, max(first, 1) - 1)
        self.walk(tree, in_loop=False)

    def walk(self, tree, in_loop):
        for node in ast.iter_child_nodes(tree):
            self.see(node, in_loop)
            self.walk(node, in_loop or isinstance(node, ast.For | ast.While))

    def see(self, node, in_loop):
        """Take down what a statement assigns."""
        if isinstance(node, ast.Assign):
            self.assigned(node.targets, node.value, node.lineno)
            parts = [base_of(part)[0] for target in node.targets for part in parts_of(target)
                     if isinstance(part, ast.Subscript)]
            self.replaced |= {name: node.lineno for name in parts if in_loop}
        elif isinstance(node, ast.AugAssign):
            self.assigned([node.target], node.value, node.lineno)
            if isinstance(node.target, ast.Subscript) and isinstance(node.op, ast.Add):
                self.adds.add(base_of(node.target)[0])
                self.buffered |= {} if in_loop else {base_of(node.target)[0]: node.lineno}
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
            self.assigned([node.target], node.value, node.lineno)
        elif isinstance(node, ast.For):
            self.assigned([node.target], node.iter, node.lineno)
            self.loops |= names_in(node.target)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITES:
            self.assigned(node.args[:1], node, node.lineno)
            self.adds |= {base_of(part)[0] for part in node.args[:1] if node.func.attr in ADDS_AT}
        elif isinstance(node, ast.Return) and node.value is not None:
            for name, part in zip(self.returned, parts_of(node.value), strict=False):
                if not (isinstance(part, ast.Name) and part.id == name):
                    self.assigned([ast.Name(name)], part, part.lineno)

    def assigned(self, targets, value, line):
        for target in targets:
            parts, values = parts_of(target), parts_of(value)
            for at, part in enumerate(parts):
                name, places = base_of(part)
                if name:
                    self.lines[name] = max(line, self.lines.get(name, 0))
                    self.first[name] = min(line, self.first.get(name, line))
                    own = names_in(values[at]) if len(values) == len(parts) else names_in(value)
                    self.edges |= {(name, read, line) for read in own | places}

    def comes_from(self, name):
        """All variables from which a variable is computed, directly or through others. An argument that is assigned
        only later does not count: what was read then is what the function was given."""
        found, open_names = set(), {name}
        while open_names:
            one = open_names.pop()
            found.add(one)
            open_names |= {read for assigned, read, line in self.edges
                           if assigned == one and self.first.get(read, line + 1) <= line} - found
        return found - {name}


def parts_of(tree):
    """The targets of an assignment: those of a tuple one by one."""
    return tree.elts if isinstance(tree, ast.Tuple | ast.List) else [tree]


def base_of(tree):
    """("dx", the names in its places) of dx, dx[...] or dx.flat[...]; ("", …) of what is no variable."""
    places = set()
    while isinstance(tree, ast.Subscript | ast.Starred | ast.Attribute):
        places |= names_in(tree.slice) if isinstance(tree, ast.Subscript) else set()
        tree = tree.value
    return (tree.id if isinstance(tree, ast.Name) else ""), places


def names_in(tree):
    """The names that occur in an expression."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def about_adding(name, source, right):
    """A sentence about `=` where the right function adds, or about `+=` with places that repeat; or "".
    `right` is the Source of the right function."""
    if name not in right.adds:
        return ""
    if name in source.replaced and name not in source.adds:
        return f"Line {source.replaced[name]} assigns to a part of {name} in a loop: there = keeps only what the " \
               f"last round wrote, and += adds."
    if name in source.buffered and name not in right.buffered:
        return f"Line {source.buffered[name]} adds at an array of places: where a place is in it several times, += " \
               f"adds only once, and np.add.at adds each time."
    return ""


def in_words(error, files, where):
    """What an exception in a student's file says: the line of theirs in which it happened, and the shapes of the arrays
    that stand in it. `files` are the names of their files; `where` is what was called."""
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)
              if frame.f_code.co_filename in files]
    kind, said = type(error).__name__, " ".join(str(error).split())
    if isinstance(error, SystemExit):
        said, kind = "", "it ends the program: leave out exit() and sys.exit()"
    elif isinstance(error, RecursionError):
        said, kind = "", "it calls itself without end"
    elif isinstance(error, ImportError):
        said += "; NumPy and the standard library are enough here"
    elif isinstance(error, EOFError):
        said, kind = "", "it asks for input(), and nobody answers: an exercise is checked without a keyboard"
    elif sizes := MATMUL.search(said):
        said, kind = "", f"the inner sizes of a matrix product have to be equal, and are {sizes[2]} and {sizes[1]}"
    if len(said) > 300:
        said = f"{said[:300]}…"
    said = f"{kind}{': ' if said else ''}{said}".rstrip(".")
    if not frames:
        return f"{where} stopped: {said}."
    frame, line = frames[-1]
    code = linecache.getline(frame.f_code.co_filename, line).strip()
    known = frame.f_locals
    words = dict.fromkeys(re.findall(r"[^\W\d]\w*", code))
    shapes = [f"{word} {known[word].shape}" for word in words if isinstance(known.get(word), np.ndarray)]
    return (f"{where} stopped in line {line}{f', `{code}`' if code else ''}: {said}."
            + (f" Shapes there: {', '.join(shapes)}." if shapes else ""))
