"""What a command imports. Nobody waits for a package that the command does not use."""

import subprocess
import sys

from scratch.commands.parser import COMMANDS, build_parser
from tests.support.terminal import ROOT, environment

HEAVY = {"scipy", "matplotlib", "skimage", "sklearn", "PIL", "tokenizers", "torch", "torchvision", "IPython",
         "constriction", "pandas"}
PROGRAM = """
import runpy, sys

sys.argv[1:] = {words!r}
{before}
try:
    runpy.run_module("scratch", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
print("imported", *sorted(sys.modules))
"""
AT_THE_FIRST_STEP = """
from scratch.accelerate.cpu.workers import ParallelTrainer
from scratch.training.trainer import Trainer

def stop(step):
    def first(*arguments):
        step(*arguments)
        raise SystemExit
    return first

for kind in (Trainer, ParallelTrainer):
    kind.step = stop(kind.step)
"""


def imported(folder, *words, before=""):
    """The modules that `python -m scratch WORD …` has imported when it ends."""
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(words=list(words), before=before)], cwd=folder,
                          capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_help_imports_no_command_and_no_model(tmp_path):
    modules = imported(tmp_path, "--help")
    assert "numpy" in modules and not HEAVY & modules
    assert not {f"scratch.commands.{name}" for name in COMMANDS} & modules
    assert not {"scratch.layers", "scratch.bottlenecks", "scratch.models"} & modules


def test_no_heavy_package_is_imported_before_the_first_step(tmp_path):
    modules = imported(tmp_path, "train", "ae", "--limit", "64", before=AT_THE_FIRST_STEP)
    assert "scratch.training.loop" in modules and not HEAVY & modules
    assert not {"scratch.gradcheck", "scratch.learn"} & modules


def test_the_table_of_commands_says_what_the_commands_say():
    whole, named = build_parser(), build_parser(["--help"])
    assert named.format_help() == whole.format_help()
    assert {name for commands in COMMANDS.values() for name in commands} == whole.commands.choices.keys()
    for module, commands in COMMANDS.items():
        assert (ROOT / f"scratch/commands/{module}.py").exists()
        for name in commands:
            asked = build_parser([name, "--help"])
            assert asked.commands.choices[name].format_help() == whole.commands.choices[name].format_help()
