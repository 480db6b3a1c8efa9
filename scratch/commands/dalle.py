"""The command `dalle`: from nothing to pictures that show what a sentence says."""

import shlex
from pathlib import Path

from scratch.commands.cli import say
from scratch.commands.options import whole
from scratch.runs.files import present

# What fits into twelve minutes on two cores: a dVAE, as in DALL·E, and a small prior that sees many captions.
CODES = ["dvae", "--network=residual", "--halvings=2", "--hidden=64", "--residual-blocks=2", "--residual-channels=32",
         "--codes=128", "--temperature=exponential:4:0.25:2300", "--kl-weight=0.003", "--drawn=50000", "--epochs=3",
         "--lr=cosine:3e-3:1e-4:2300"]
PRIOR = ["--given=caption", "--width=96", "--blocks=3", "--dropout=0", "--drawn=90000", "--epochs=2",
         "--batch-size=32", "--lr=warmup:100:cosine:3e-3:2e-5:5500"]
CAPTIONS = (
    "a large red triangle in the middle centre on dark blue",
    "a small yellow square at the top left before a green background",
    "a medium green plus at the bottom right on a dark red ground",
    "a large pink pill on dark cyan",
    "on dark pink, a small cyan triangle on the right",
    "a blue shape at the top",
    "a square on dark yellow",
    "a large plus",
    "in the bottom left corner before a blue background, a yellow pill",
    "a small shape in the centre on dark green",
)


def add(subparsers):
    """The command and its options."""
    summary = "Words to pictures, from nothing: learn codes of shapes, learn to write them after captions, draw a page."
    command = subparsers.add_parser("dalle", help=summary, description=f"{summary} Called again, it goes on.")
    command.add_argument("--out", default="runs/dalle", metavar="DIR", help="where to (default: runs/dalle)")
    command.add_argument("--seed", type=whole(0), default=0, metavar="N", help="(default: 0)")
    command.add_argument("--without", metavar="WORDS", help="compositions that training leaves out, such as \"red "
                                                            "triangle\"; how it draws them all the same says `judge`")
    command.set_defaults(run_command=dalle)


def dalle(arguments):
    """Run the commands that learn both halves of DALL·E and draw with them, and print each."""
    from scratch.commands.parser import build_parser

    for words in commands(Path(arguments.out), arguments.seed, arguments.without):
        say(f"python -m scratch {shlex.join(words)}")
        asked = build_parser().parse_args(words)
        if status := asked.run_command(asked):
            return status
        say()
    return 0


def commands(out, seed, without):
    """The words of each command line. A half that was begun before is continued."""
    codes, prior = str(out / "codes"), str(out / "prior")
    shared = [f"--seed={seed}", *([f"--without={without}"] if without else [])]
    return [
        training(codes, [*CODES, *shared]),
        training(prior, ["prior", f"--of={codes}", *PRIOR, *shared]),
        ["sample", prior, "--count=8", "--temperature=0.5", "--guidance=2", "--against=a shape", f"--seed={seed}",
         f"--out={out / 'page.png'}", "--text", *CAPTIONS],
    ]


def training(folder, words):
    """The command that trains a run, or goes on with the one in the folder."""
    if present(Path(folder) / "resume.safetensors"):
        return ["train", f"--resume={folder}"]
    return ["train", *words, f"--out={folder}"]
