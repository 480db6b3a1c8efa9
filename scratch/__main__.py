"""python -m scratch COMMAND ...: the commands stand in scratch/commands/."""

import sys

from scratch.commands.cli import main
from scratch.commands.parser import build_parser

if __name__ == "__main__":
    sys.exit(main(build_parser(sys.argv[1:])))
