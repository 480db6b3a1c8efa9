"""What both command lines share: how a mistake of the person at the keyboard is answered."""

import argparse
import os
import sys

from data_utils import DataError
from scratch.commands.shortages import shortage
from scratch.options.errors import InputError
from scratch.training.loop import Diverged


class Parser(argparse.ArgumentParser):
    """Argparse, with one sentence instead of the usage in front of an error."""

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


def main(parser, argv=None):
    """Run the chosen command; its exit status. What is wrong with the input becomes one line and status 2."""
    try:
        arguments = parser.parse_args(argv)
        return arguments.run_command(arguments)
    except (InputError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Diverged as error:
        print(f"stopped: {error}; what the run has saved is kept. A smaller --lr may help.", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read our output has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        where = f" {error.filename!r}" if error.filename else ""
        print(f"error: cannot read or write{where}: {error.strerror or error}.", file=sys.stderr)
        return 2
    except (MemoryError, ImportError, RuntimeError) as error:
        if (sentence := shortage(error)) is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
