"""What both command lines share: how a mistake of the person at the keyboard is answered."""

import argparse
import contextlib
import os
import re
import sys

from data_utils import DataError
from scratch.commands.shortages import shortage
from scratch.options.errors import InputError
from scratch.options.option import nearest
from scratch.runs.schema import shown
from scratch.training.progress import Diverged


class Parser(argparse.ArgumentParser):
    """Argparse, with one sentence instead of the usage in front of an error. Options are written out in full."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **{"allow_abbrev": False, **settings})

    def parse_known_args(self, args=None, namespace=None):
        args = sys.argv[1:] if args is None else list(args)
        for argument in args:
            if argument == "--":  # what follows are no options
                break
            name, equals, value = argument.partition("=")
            if name.startswith("-") and equals and value == "--":  # of this argparse makes an empty list
                self.error(f"argument {name}: expected a value, '--' was given")
        return super().parse_known_args(args, namespace)

    def error(self, message):
        raise InputError(f"{message} (see {self.prog} --help)")

    def parse_args(self, args=None, namespace=None):
        """The arguments. What no option takes raises InputError, with the option that is nearest to it."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            word = unknown[0].partition("=")[0]
            flags = self.commands.choices[found.command]._option_string_actions  # argparse tells it no other way
            near = nearest(word, flags) if word.startswith("-") else ""
            raise InputError(f"unknown argument {word!r}{near if near.endswith('?') else '.'}")
        return found


def in_words(error):
    """An InputError as the command line says it: options are called as they are typed."""
    text = re.sub(r"\b[a-z]+(_[a-z]+)+\b(?!/|\.\w)", lambda found: as_typed(found[0]), str(error.message))
    return f"--{error.option.replace('_', '-')} {text}" if error.option else text


def as_typed(word):
    """The option that a word names, as it is typed; any other word as it is."""
    from scratch.commands.options import every_option

    return f"--{word.replace('_', '-')}" if word in every_option() else word


def printable(text):
    """A text with its control characters escaped, except line ends: no name from a file steers the terminal."""
    return "\n".join(map(shown, str(text).split("\n")))


class Printable:
    """A stream of text that escapes what a terminal would obey, and what the stream's encoding does not have."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, text):
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        self.stream.write(printable(text).encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def __getattr__(self, name):
        return getattr(self.stream, name)


def fail(sentence, status=2):
    """Print one line to the error stream; the exit status."""
    print(" ".join(str(sentence).split("\n")), file=Printable(sys.stderr))
    return status


def main(parser, argv=None):
    """Run the chosen command; its exit status. What is wrong with the input becomes one line and status 2."""
    arguments = argparse.Namespace()
    try:
        with contextlib.redirect_stdout(Printable(sys.stdout)):
            arguments = parser.parse_args(argv, arguments)
            return arguments.run_command(arguments)
    except InputError as error:
        return fail(f"error: {in_words(error)}")
    except DataError as error:
        return fail(f"error: {error}")
    except Diverged as error:
        return fail(f"stopped: {error}; what the run has saved is kept. A smaller --lr may help.", 1)
    except BrokenPipeError:  # whoever read our output has closed it, as `head` does
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
