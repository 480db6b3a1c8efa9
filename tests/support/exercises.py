"""Students' files: the text of an exercise with a part of it replaced, loaded or written."""

import linecache

from scratch.learn.exercise import exercise
from scratch.learn.marking import check_functions


def solved(name, *changes):
    """The solved file of an exercise, in which each change (old, new) is made; old has to stand in it once."""
    text = f'# Exercise "{name}"\n{exercise(name).text(solved=True)}'
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        text = text.replace(old, new)
    return text


def line_of(text, part):
    """The number of the line of a text in which a part of it begins."""
    return text[: text.index(part)].count("\n") + 1


def functions(name, text):
    """The functions that a file's text defines, as a file would: their source can be read."""
    file = f"<{name}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    variables = {"__name__": "exercise"}
    exec(compile(text, file, "exec"), variables)
    return {one: variables[one] for one in exercise(name).functions if one in variables}


def report_of(name, *changes):
    """The Report of a solved file with these changes."""
    return check_functions(exercise(name), functions(name, solved(name, *changes)))
