"""What a check found, as text for a terminal, a notebook, and another process."""

import textwrap
from dataclasses import dataclass, field

from data_utils import printable
from scratch.learn.comparison import TO_DO, Row
from scratch.options.option import listed

WIDTH = 100  # characters of a line


def wrapped(text):
    """The lines of a sentence; all but the first are indented."""
    return textwrap.wrap(text, WIDTH, subsequent_indent="    ", break_on_hyphens=False) or [""]


@dataclass
class Report:
    """A check of an exercise. True where the exercise is done; str() is the table with what follows from it.

    exercise   its name
    inputs     the shapes of the inputs, case by case
    rows       a comparison.Row for each variable, in the order in which they are computed
    problems   sentences about what kept functions from being compared, and what is wrong besides numbers
    remarks    sentences about what is not wrong
    usable     False where the file could not be loaded at all
    printed    what the student's file printed
    """

    exercise: str
    inputs: list = field(default_factory=list)
    rows: list = field(default_factory=list)
    problems: list = field(default_factory=list)
    remarks: list = field(default_factory=list)
    usable: bool = True
    printed: str = ""

    @property
    def ok(self):
        """Is the exercise done?"""
        return bool(self.usable and not self.problems and self.rows
                    and all(row.right for row in self.rows if row.returned))

    def __bool__(self):
        return self.ok

    def as_dict(self):
        """The report as numbers, texts, lists and dicts."""
        rows = [{name: value for name, value in vars(row).items() if name not in ("claimed", "expected")}
                for row in self.rows]
        return {**vars(self), "rows": rows}

    @classmethod
    def from_dict(cls, found):
        rows = [Row(**{**row, "shape": tuple(row["shape"])}) for row in found["rows"]]
        return cls(**{**found, "rows": rows})

    def table(self):
        """The rows as lists of texts, a heading first."""
        lines = [["", "mark", "max difference", "from rounding", "shape"]]
        for row in self.rows:
            difference = "" if row.difference is None else f"{row.difference:.1e}" if row.difference else "0"
            allowed = f"≤ {row.allowed:.0e}" if row.allowed else "0"
            lines.append([row.name, row.mark, difference, allowed, str(row.shape)])
        return lines

    def sentences(self):
        """What is to be said below the table, a sentence or two a line."""
        lines, wrong = list(self.problems), [row for row in self.rows if row.wrong]
        if self.ok and wrong:
            lines.append(f"{listed([row.name for row in wrong])} {'is' if len(wrong) == 1 else 'are'} something else "
                         f"than the table expects. That does not matter: what is returned is right.")
        elif not self.ok:
            lines += [self.about(row, wrong) for row in wrong if not row.follows]
        return lines + self.remarks

    @staticmethod
    def about(row, wrong):
        """What is to be said of a wrong variable, and of those that follow from it."""
        text = f"{row.name}{f' (line {row.line})' if row.line else ''}"
        text += f" {row.note or row.finding or 'is wrong'}."
        text += f" It {row.finding}." if row.note and row.finding else ""
        text += f" {row.advice}" if row.advice else ""
        text += f" For {row.right_for} it is right." if row.right_for else ""
        following = [one.name for one in wrong if one.follows == row.name and one.function == row.function]
        if following:
            follow = "follows" if len(following) == 1 else "follow"
            text += f" {listed(following)} {follow} from it: mend {row.name} first."
        return text

    def verdict(self):
        """The last line."""
        if self.ok:
            return f"{self.exercise}: all right."
        to_do = [row.name for row in self.rows if row.mark == TO_DO]
        wrong = next((row.name for row in self.rows if row.wrong), None)
        if not self.usable or self.problems:
            return f"{self.exercise}: not yet."
        if wrong:
            return f"{self.exercise}: not yet. Begin with {wrong}."
        if len(to_do) == len(self.rows):
            return f"{self.exercise}: not yet. Everything marked TODO is still to do; begin with {to_do[0]}."
        return f"{self.exercise}: not yet. {', '.join(to_do)} {'is' if len(to_do) == 1 else 'are'} still to do."

    def __str__(self):
        return "\n".join(self.lines())

    __repr__ = __str__

    def lines(self):
        """The whole report, line by line."""
        lines = []
        if self.printed:
            lines += ["Your file printed:", *(f"    {printable(line)}" for line in self.printed.splitlines()), ""]
        if self.rows:
            table = self.table()
            widths = [max(len(cells[at]) for cells in table) for at in range(len(table[0]))]
            several = len(self.inputs) > 1
            shapes = f"{len(self.inputs)} random inputs of different shapes" if several else "random inputs"
            lines += [f"{self.exercise}, for {shapes}", ""]
            for name, mark, *numbers in table:
                first, second, shape = (cell.rjust(width) for cell, width in zip(numbers, widths[2:], strict=True))
                lines.append(f"  {name.ljust(widths[0])}  {mark.ljust(widths[1])}  {first}  {second}  {shape}".rstrip())
            lines.append("")
        below = [line for sentence in self.sentences() for line in wrapped(sentence)]
        return [*lines, *below, *([""] if below else []), *wrapped(self.verdict())]

    def _repr_markdown_(self):
        table = self.table() if self.rows else []
        lines = ["| " + " | ".join(f"`{cell}`" if at == 0 and cell else cell for at, cell in enumerate(cells)) + " |"
                 for cells in table]
        if lines:
            lines.insert(1, "|" + "---|" * len(table[0]))
        return "\n\n".join([*(["\n".join(lines)] if lines else []), *self.sentences(), f"**{self.verdict()}**"])

