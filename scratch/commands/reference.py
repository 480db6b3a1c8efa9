"""The command `options`: every option with its systems, type, default and source, the page docs/reference/options.md.
"""

from scratch.commands.options import defaults_of, every_option, group_of
from scratch.models.system import systems
from scratch.options.option import listed
from scratch.options.resolve import run_options


def add(subparsers):
    """The command and its options."""
    parser = subparsers.add_parser("options", help=options.__doc__, description=options.__doc__)
    parser.set_defaults(run_command=options)


def options(arguments):
    """Print every option as a page of Markdown: what it takes, its default, its systems, its source."""
    print(page(), end="")
    return 0


def page():
    """The page docs/reference/options.md."""
    lines = [
        "# Options",
        "",
        "Every option of `train`, as it is declared beside the formula in which it stands. The names are those of",
        "Python (`scratch.build`, `scratch.train`); the command line writes `--latent-dim` for `latent_dim`. This page",
        "is the output of `python -m scratch options`.",
    ]
    groups = {}
    for name in every_option():
        groups.setdefault(group_of(name), []).append(name)
    for title, names in groups.items():
        lines += ["", f"## {title[0].upper()}{title[1:]}", "",
                  "| option | takes | default | what it is | of | source |", "|---|---|---|---|---|---|"]
        lines += [row(name) for name in names]
    return "\n".join(lines) + "\n"


def row(name):
    """An option as a row of the table."""
    owners = every_option()[name]
    option = owners[0][1]
    takes = list(dict.fromkeys(one.kind.words for _, one in owners))
    takes = takes[0] if len(takes) == 1 else "; ".join(
        f"{listed([system for system, one in owners if one.kind.words == words])}: {words}" for words in takes)
    where = "all" if len(owners) == len(systems()) else ", ".join(system for system, _ in owners)
    if choice := counts_with(name):
        where += f"; with {choice}"
    cells = [f"`{name}`", takes, defaults_of(name).removeprefix("default: "), option.help, where, option.source]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def counts_with(name):
    """The choice of another option with which an option counts, such as "network residual"; None where it always does.
    """
    for system in systems().values():
        for option in run_options(system).values():
            if not hasattr(option.kind, "options_of"):
                continue
            fitting = [choice for choice in option.kind.names
                       if name in {sub.name for sub in option.kind.options_of(choice)}]
            if fitting:
                return f"{option.name} {listed(fitting, 'or')}"
    return None
