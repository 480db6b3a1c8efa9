"""What both command lines share: the parser, lines and JSON that are printed, and one sentence for each error."""

import argparse
import json
import math
import os
import re
import sys
import time
import traceback

import scratch
from data_utils import DataError, printable
from scratch.commands.shortages import shortage
from scratch.options.errors import InputError
from scratch.options.option import nearest
from scratch.training.errors import Diverged
from scratch.training.world import World, world


class Parser(argparse.ArgumentParser):
    """Argparse, with one sentence instead of the usage in front of an error. Options are written out in full."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **{"allow_abbrev": False, **settings})

    def parse_known_args(self, args=None, namespace=None):
        args = sys.argv[1:] if args is None else list(args)
        for argument in args:
            if argument == "--":  # no options follow
                break
            name, equals, value = argument.partition("=")
            if name.startswith("-") and equals and value == "--":  # argparse would make an empty list of this
                self.error(f"argument {name}: expected a value, '--' was given")
        return super().parse_known_args(args, namespace)

    def error(self, message):
        raise InputError(f"{message} (see {self.prog} --help)")

    def parse_args(self, args=None, namespace=None):
        """The arguments. What no option takes raises InputError, with the option that is nearest to it."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            word = unknown[0].partition("=")[0]
            asked = self.commands.choices[found.command] if found.command else self
            flags = asked._option_string_actions  # argparse has no other way to ask
            near = nearest(word, flags) if word.startswith("-") else ""
            raise InputError(f"unknown argument {word!r}{near if near.endswith('?') else '.'}")
        return found


def top_parser(program, description, first):
    """(the parser of a program, to which commands are added). Without a command it prints its help, which ends with a
    command to begin with."""
    parser = Parser(prog=f"python -m {program}", description=description, epilog=f"Begin with: {first}")
    version = f"autoencoders-from-scratch {scratch.__version__}"
    parser.add_argument("--version", action="version", version=version, help="print the version and exit")
    parser.commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    parser.set_defaults(run_command=lambda arguments: say_help(parser))
    return parser


def command_in(argv):
    """The command that the words ask for, or None."""
    return next((word for word in argv if not word.startswith("-")), None)


def say_help(parser):
    """Print what the program can do; the exit status."""
    print(parser.format_help(), end="", flush=True)
    return 0


def in_words(error):
    """An InputError as the command line says it: options are called as they are typed, and paths stay as they are."""
    text = re.sub(r"(?<![\w./-])[a-z]+(_[a-z]+)+\b(?![/=]|\.\w)", lambda found: as_typed(found[0]), str(error.message))
    return f"--{error.option.replace('_', '-')} {text}" if error.option else text


def as_typed(word):
    """The option that a word names, as it is typed; any other word as it is."""
    from scratch.commands.options import every_option

    return f"--{word.replace('_', '-')}" if word in every_option() else word


def say(line="", file=None):
    """Print one line at once. Control characters are escaped: a name from a file cannot steer the terminal."""
    print(printable(line), file=file, flush=True)


def say_json(found, indent=None):
    """Print numbers as JSON. null stands for an infinite one, such as the PSNR of a perfect reconstruction, and for
    NaN: JSON has neither."""
    print(json.dumps(finite(found), indent=indent, allow_nan=False), flush=True)


def finite(value):
    """The value with None for each number in it that is infinite or NaN."""
    if isinstance(value, dict):
        return {name: finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def fail(sentence, status=2, ranks=None):
    """Print one line to the error stream; the exit status. Of several ranks one prints it, and all end."""
    ranks = ranks or world()
    leave_to_the_first(ranks)
    say(" ".join(str(sentence).split("\n")), file=sys.stderr)
    ranks.end(status)
    return status


def leave_to_the_first(ranks):
    """Wait a moment at a rank other than the first. An error that all ranks have is the first rank's to tell, and ends
    this one."""
    if ranks.rank:
        time.sleep(min(1 + ranks.rank / 2, 10))


def main(parser, argv=None):
    """Run the chosen command; its exit status. What is wrong with the input becomes one line and status 2.

    Of several ranks (accelerate/ranks) the first alone prints, and an error in one of them ends all.
    """
    try:
        ranks = world()
    except InputError as error:
        return fail(f"error: {error}", ranks=World())
    if ranks.rank:
        sys.stdout = open(os.devnull, "w")
    try:
        return run(parser, argv, ranks)
    except Exception:
        if ranks.size == 1:
            raise
        leave_to_the_first(ranks)
        traceback.print_exc()
        ranks.end(1)


def run(parser, argv, ranks):
    """Run the chosen command; its exit status."""
    arguments = argparse.Namespace()
    try:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # what the terminal's encoding lacks is escaped
        arguments = parser.parse_args(argv, arguments)
        if ranks.size > 1 and not getattr(arguments, "for_ranks", False):
            raise InputError(f"{arguments.command or 'this'} runs in one process: start it without mpiexec.")
        return arguments.run_command(arguments)
    except InputError as error:
        return fail(f"error: {in_words(error)}")
    except DataError as error:
        return fail(f"error: {error}")
    except Diverged as error:
        return fail(f"stopped: {error}; what the run has saved is kept. A smaller --lr may help.", 1)
    except BrokenPipeError:  # the reader of our output, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        where = f" {error.filename!r}" if error.filename else ""
        return fail(f"error: cannot read or write{where}: {error.strerror or error}.")
    except (MemoryError, ImportError, RuntimeError) as error:
        if (sentence := shortage(error, arguments)) is None:
            raise
        return fail(f"error: {sentence}")
    except KeyboardInterrupt:
        return 130
