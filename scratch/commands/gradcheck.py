"""The command `gradcheck`: every backward against finite differences."""

from scratch.commands.cli import say, say_json
from scratch.gradcheck.table import FINITE_DIFFERENCES, chosen_cases, failures, run_case, run_model, summary, table
from scratch.options.errors import InputError


def add(subparsers):
    """The command and its options."""
    parser = subparsers.add_parser("gradcheck", help="Compare every backward with finite differences.")
    add_arguments(parser)
    parser.set_defaults(run_command=run)


def add_arguments(parser):
    """The options of the command `gradcheck`, on both sides."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="operations to check, such as Conv2d; all by default")
    parser.add_argument("--model", nargs="+", metavar="SYSTEM", default=[],
                        help="check whole small models, such as vae: every parameter, the image, each loss term")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(arguments, columns=(FINITE_DIFFERENCES,)):
    """The command `gradcheck`: prints the table or JSON; 0 if every difference is within its bound, else 1."""
    if arguments.model and arguments.names:
        raise InputError("either names operations or --model names systems: give one of them.")
    if arguments.model:
        columns = (FINITE_DIFFERENCES,)
        rows = [row for name in arguments.model for row in run_model(name)]
    else:
        rows = [row for case in chosen_cases(arguments.names) for row in run_case(case, columns=columns)]
    ok = all(row.ok for row in rows)
    if arguments.json:
        bounds = {column.title: column.bound for column in columns}
        say_json({"ok": ok, "bounds": bounds, "rows": [row.as_data() for row in rows]}, indent=2)
    else:
        parts = (table(rows, columns), failures(rows), summary(rows, columns))
        for line in "\n\n".join(part for part in parts if part).split("\n"):
            say(line)
    return 0 if ok else 1
