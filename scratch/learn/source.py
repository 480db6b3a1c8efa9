"""What a student's function says in its source: where a variable is assigned, and from which others it is computed."""

import ast
import inspect
import linecache
import re
import textwrap
import traceback

import numpy as np


class Source:
    """The source of a function; empty where it cannot be had, as of a lambda typed into a prompt.

    lines    {variable: line of its last assignment}
    reads    {variable: the names from which it is computed}
    """

    def __init__(self, function, returned):
        self.lines, self.reads = {}, {}
        try:
            text, first = inspect.getsourcelines(inspect.unwrap(function))
            tree = ast.parse(textwrap.dedent("".join(text)))
        except (OSError, TypeError, SyntaxError, ValueError):
            return
        ast.increment_lineno(tree, max(first, 1) - 1)
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                self.assigned(node.targets, node.value, node.lineno)
            elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.NamedExpr):
                self.assigned([node.target], node.value, node.lineno)
            elif isinstance(node, ast.For | ast.comprehension):
                self.assigned([node.target], node.iter, node.iter.lineno)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                if isinstance(node.args[0], ast.Name) and node.func.attr in ("at", "put_along_axis", "copyto"):
                    self.assigned(node.args[:1], node, node.lineno)  # np.add.at(de, k, dchosen)
            elif isinstance(node, ast.Return) and node.value is not None:
                parts = node.value.elts if isinstance(node.value, ast.Tuple | ast.List) else [node.value]
                for name, part in zip(returned, parts, strict=False):
                    if not (isinstance(part, ast.Name) and part.id == name):
                        self.assigned([ast.Name(name)], part, part.lineno)

    def assigned(self, targets, value, line):
        read = names_in(value)
        for target in targets:
            parts = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
            values = value.elts if isinstance(value, ast.Tuple | ast.List) else []
            for at, part in enumerate(parts):
                base, places = part, set()
                while isinstance(base, ast.Subscript | ast.Starred | ast.Attribute):
                    places |= names_in(base.slice) if isinstance(base, ast.Subscript) else set()
                    base = base.value
                if isinstance(base, ast.Name):
                    own = names_in(values[at]) if len(values) == len(parts) > 1 else read
                    self.lines[base.id] = max(line, self.lines.get(base.id, 0))
                    self.reads.setdefault(base.id, set()).update(own | places)

    def comes_from(self, name):
        """All names from which a variable is computed, directly or through others; None if the source is unknown."""
        if not self.reads:
            return None
        found, open_names = set(), [name]
        while open_names:
            for one in self.reads.get(open_names.pop(), ()):
                if one not in found:
                    found.add(one)
                    open_names.append(one)
        return found - {name}


def names_in(tree):
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


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
    elif isinstance(error, EOFError):
        said, kind = "", "it asks for input(), and nobody answers: an exercise is checked without a keyboard"
    if len(said) > 300:
        said = f"{said[:300]}…"
    if not frames:
        return f"{where} stopped: {kind}{': ' if said else ''}{said}."
    frame, line = frames[-1]
    code = linecache.getline(frame.f_code.co_filename, line).strip()
    text = f"{where} stopped in line {line}"
    text += f", `{code}`" if code else ""
    text += f": {kind}{': ' if said else ''}{said}"
    known = frame.f_locals
    words = dict.fromkeys(re.findall(r"[^\W\d]\w*", code))
    shapes = [f"{word} {known[word].shape}" for word in words if isinstance(known.get(word), np.ndarray)]
    return f"{text.rstrip('.')}." + (f" Shapes there: {', '.join(shapes)}." if shapes else "")
