"""python -m torch_ref: train, compare, speeds, growth, gradcheck."""

import sys

from scratch.accelerate.cpu.memory import retain_freed_memory
from scratch.commands.cli import main
from torch_ref.commands import build_parser

if __name__ == "__main__":
    retain_freed_memory()
    sys.exit(main(build_parser(sys.argv[1:])))
