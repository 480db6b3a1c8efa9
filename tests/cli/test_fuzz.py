"""Every file that a command reads, made wrong at random, through every command that reads it.

An input is one mutated file through one command. Asserted of each: exit status 0, 2, or 1 for divergence; no traceback,
no hang; on failure one line on the error stream and nothing changed; on success nothing written but what the command's
help names. All follow from a seed, so that an input that fails can be repeated alone.

    AUTOENCODERS_FUZZ        how many inputs: 2000 unless given
    AUTOENCODERS_FUZZ_SEED   of all of them: 0 unless given
    AUTOENCODERS_FUZZ_ONLY   the number of one input, which is run alone

    AUTOENCODERS_FUZZ=20000 AUTOENCODERS_FUZZ_SEED=7 python -m pytest tests/cli/test_fuzz.py -k mutated
"""

import contextlib
import fnmatch
import hashlib
import io
import os
import random
import shutil
import signal
import stat
import traceback
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from scratch.__main__ import build_parser
from scratch.commands import shared, sweep, train
from scratch.commands.cli import main
from scratch.runs.descriptions import FILES, PICTURES
from scratch.runs.files import write_atomically
from scratch.runs.run import Run
from tests.support import mutations
from tests.support.command_line import MODELS

INPUTS = int(os.environ.get("AUTOENCODERS_FUZZ", 2000))
SEED = int(os.environ.get("AUTOENCODERS_FUZZ_SEED", 0))
ONLY = os.environ.get("AUTOENCODERS_FUZZ_ONLY")
SECONDS = 30  # that an input may take
BYTES = 2**32  # that it may ask for

TINY = "--channels 2,4 --image-size 8 --limit 12 --batch-size 8 --steps 3 --log-steps 2".split()  # ends inside an epoch
ALL, VECTORS, CODES, RANDOM = tuple(MODELS), ("ae", "vae"), ("vqvae", "vqvae2", "dvae"), ("vae", "dvae")


@dataclass(frozen=True)
class Command:
    """A command line, and what it writes: patterns of paths. `share`: how often it is chosen beside others."""

    line: str
    writes: tuple = ()
    systems: tuple = ALL
    share: int = 1
    program: str = "scratch"


WRITTEN = (*FILES, *PICTURES, ".lock")  # a lock that was left is taken and released
OWN = tuple(f"run/{name}" for name in WRITTEN)
READERS = (
    Command("evaluate run --json", share=8),
    Command("evaluate run", ("run/kl_per_dimension.png",), share=4),
    Command("evaluate run --json --importance-samples 2 --corruption gaussian:0.3", systems=RANDOM, share=2),
    Command("evaluate run --json --data folder:pictures"),
    Command("encode run --out o.npz", ("o.npz",), share=6),
    Command("encode run --split train", ("run/codes.npz",), share=2),
    Command("decode run codes.npz --out o.npz", ("o.npz", "o.png"), share=4),
    Command("bits run --json", systems=CODES, share=3),
    Command("bits run", systems=CODES),
    Command("bits run", systems=VECTORS),
    Command("mig run --json", systems=("vae",), share=2),
    Command("mig run", ("run/mig.png",), systems=("vae",)),
    Command("probe run --json", share=2),
    Command("probe run"),
    Command("retrieve run --json", share=2),
    Command("retrieve run", ("run/neighbours.png",)),
    Command("anomaly run --against shapes:pill --limit 12 --json", share=2),
    Command("anomaly run --against shapes:pill --limit 12 --out o.png", ("o.png",)),
    Command("downstream run other --corruption masking:0.3", share=2),
    Command("pca run --json", systems=VECTORS, share=2),
    Command("pca other run --out o.png", ("o.png",), systems=VECTORS),
    Command("reconstruct run --count 2 --out o.png", ("o.png",)),
    Command("reconstruct other --beside run --count 2", ("other/reconstructions.png",)),
    Command("sample run --count 2 --seed 3", ("run/samples.png",)),
    Command("variations run --count 2", ("run/variations.png",), systems=RANDOM),
    Command("interpolate run --steps 2", ("run/interpolation.png",)),
    Command("traverse run --steps 2 --dimensions 1", ("run/traversals.png",), systems=VECTORS),
    Command("corners run --steps 2", ("run/corners.png",), systems=VECTORS),
    Command("aggregate run", ("run/aggregate.png",), systems=VECTORS),
    Command("arithmetic run --factor x --from 0..0.5 --to 0.5..1 --steps 2 --count 2", ("run/arithmetic.png",),
            systems=VECTORS),
)
CURVES = Command("curves run other --out o.png", ("o.png",))
RESUME = (
    Command("train --resume run --steps 4", OWN, share=4),
    Command("train --resume run --epochs 3", OWN),
    Command("train --resume run", OWN),
)
TORCH = Command("train --resume torch --steps 4", tuple(f"torch/{name}" for name in WRITTEN),
                program="torch_ref", systems=("ae",))
SWEPT = ("sweep.json", "figures.png", "rate_distortion.png", ".lock",
         *(f"seed=?/{name}" for name in (*WRITTEN, "evaluation.json")))
SWEEP = (
    Command("sweep MODEL --out sweep --over seed=0,1", tuple(f"sweep/{name}" for name in SWEPT), share=3),
    Command("sweep MODEL --out sweep --over seed=0,1 --steps 4", tuple(f"sweep/{name}" for name in SWEPT)),
)
PICTURED = (
    Command("encode run --data folder:pictures --out o.npz", ("o.npz",), share=4),
    Command("evaluate run --data folder:pictures --json", share=2),
    Command("reconstruct run --data folder:pictures --out o.png", ("o.png",)),
    Command("anomaly run --against folder:pictures --limit 12 --json"),
    Command("train MODEL --data folder:pictures --out new", ("new", "new/*")),
)
READ = {  # {file: (how often it is chosen, the commands that read it)}
    "run/config.json": (24, (*READERS, CURVES)),
    "run/checkpoint.safetensors": (24, READERS),
    "run/resume.safetensors": (16, RESUME),
    "run/metrics.jsonl": (4, (*RESUME, CURVES, CURVES)),
    "run/steps.jsonl": (3, RESUME),
    "codes.npz": (10, (Command("decode run codes.npz --out o.npz", ("o.npz", "o.png")),)),
    "pictures/0.png": (5, PICTURED),
    "pictures": (3, PICTURED),
    "run/.lock": (1, RESUME),
    "unsaved/config.json": (2, (
        Command("train --resume unsaved"),
        Command("train MODEL --out unsaved", tuple(f"unsaved/{name}" for name in WRITTEN)),
    )),
    "torch/resume.safetensors": (1, (TORCH,)),
    "torch/metrics.jsonl": (1, (TORCH,)),
    "sweep/sweep.json": (2, SWEEP),
    "sweep/.lock": (1, SWEEP),
    **{f"sweep/seed=1/{name}": (1, SWEEP) for name in (
        "config.json", "evaluation.json", "checkpoint.safetensors", "resume.safetensors", "metrics.jsonl",
        "steps.jsonl")},
}
SHARES = sum(share for share, _ in READ.values())


# --- what the inputs begin from ---------------------------------------------------------------------------------------


def options(model):
    return [*TINY, *MODELS[model]]


@pytest.fixture(scope="module")
def parsers():
    return {"scratch": build_parser()}


def parser_of(program, parsers):
    if program not in parsers:
        from torch_ref.commands import build_parser as torch_parser  # only here: PyTorch takes seconds to import

        parsers[program] = torch_parser()
    return parsers[program]


@pytest.fixture(scope="module")
def template(tmp_path_factory, parsers):
    """template(model, part) -> a folder that holds what the commands on a run, or on a sweep, read."""
    made = {}

    def make(model, part):
        if (model, part) not in made:
            folder = made[model, part] = tmp_path_factory.mktemp(f"{model}-{part}")
            with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()), in_haste():
                fill(model, part, parsers)
        return made[model, part]

    return make


def fill(model, part, parsers):
    """Make a template in the working folder."""
    def call(*argv, program="scratch"):
        assert main(parser_of(program, parsers), [str(word) for word in argv]) == 0

    if part == "sweep":
        return call("sweep", model, *options(model), "--out", "sweep", "--over", "seed=0,1")
    if part == "torch":
        return call("train", model, *options(model), "--out", "torch", program="torch_ref")
    call("train", model, *options(model), "--out", "run")
    call("encode", "run", "--out", "codes.npz")
    for path in Path("run").glob("*.png"):
        path.unlink()
    shutil.copytree("run", "other")
    Path("unsaved").mkdir()
    shutil.copy("run/config.json", "unsaved")
    Path("pictures").mkdir()
    rng = random.Random(0)
    for number in range(4):
        Path(f"pictures/{number}.png").write_bytes(mutations.picture(rng))


@contextlib.contextmanager
def in_haste(draws=False, composes=True):
    """Within a `with` block, files are not waited for until they are on the disk, and unless `draws` is True pictures
    are composed and not drawn, which takes Matplotlib a tenth of a second. Unless `composes` is True, training composes
    none either."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch("os.fsync"))
        if not draws:
            stack.enter_context(mock.patch.object(
                shared, "save_figure", lambda figure, path: write_atomically(path, b"a picture")))
        if not (draws or composes):
            for command in (train, sweep):
                stack.enter_context(mock.patch.object(command, "pictures_of", lambda *arguments: ()))
        yield


# --- one input --------------------------------------------------------------------------------------------------------


class Hang(BaseException):
    """An input took too long. No `except` of the program catches it."""


@contextlib.contextmanager
def watched():
    """Within a `with` block, raise Hang after SECONDS, and let no more memory be asked for than BYTES."""
    def ring(number, frame):
        raise Hang(f"{SECONDS} s")

    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else None
    limits, previous = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def snapshot(folder):
    """{path: what stands there}: kind, size and SHA-256 of a file, the end of a link."""
    found = {}
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(where, name)
            status = os.lstat(path)
            about = [stat.S_IFMT(status.st_mode)]
            if stat.S_ISLNK(status.st_mode):
                about.append(os.readlink(path))
            elif stat.S_ISREG(status.st_mode):
                about.append(status.st_size)
                if status.st_size < 2**24:
                    about.append(hashlib.sha256(Path(path).read_bytes()).hexdigest())
            found[os.path.relpath(path, folder)] = about
    return found


@dataclass
class Input:
    """One mutated file through one command."""

    number: int
    file: str

    def __post_init__(self):
        self.rng = random.Random(f"{SEED} {self.file} {self.number}")
        commands = READ[self.file][1]
        self.command = self.rng.choices(commands, [command.share for command in commands])[0]
        self.model = self.rng.choice(self.command.systems)
        self.part = self.file.partition("/")[0]
        self.part = self.part if self.part in ("sweep", "torch") else "run"
        trains, chance = self.command.line.split()[0] in ("train", "sweep"), self.rng.random()
        self.haste = in_haste(draws=chance < (0.02 if trains else 0.1), composes=chance < 0.25)
        self.done = "nothing"

    @property
    def argv(self):
        line = self.command.line.split()
        if "MODEL" not in line:
            return line
        line[line.index("MODEL")] = self.model
        return [line[0], *options(self.model), *line[1:]]  # what is given twice counts as the last says

    def __str__(self):
        return f"{self.file} number {self.number} ({self.done}), {self.model}: {' '.join(self.command.line.split())}"

    def mutate(self):
        """Change the file in the working folder."""
        path = Path(self.file)
        if self.file == "pictures":
            self.done = mutations.of_folder(path, self.rng)
            return
        name = "picture" if path.suffix == ".png" else path.name
        content = path.read_bytes() if path.exists() else b"123"  # a lock
        self.done, changed = mutations.mutate(name, content, self.rng)
        mutations.put(path, changed)

    def run(self, parsers):
        """What is wrong with the answer, as sentences; none where nothing is."""
        self.mutate()
        before, out, err = snapshot("."), io.StringIO(), io.StringIO()
        parser = parser_of(self.command.program, parsers)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), self.haste, watched():
                status = main(parser, self.argv)
        except (Exception, SystemExit, Hang):
            return [f"a traceback: {traceback.format_exc()}"]
        return self.complaints(status, out.getvalue(), err.getvalue(), before, snapshot("."))

    def complaints(self, status, out, err, before, after):
        changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        allowed = {path for path in changed if any(fnmatch.fnmatch(path, way) for way in self.command.writes)}
        if status == 0:
            yield from [f"it wrote {err!r} to the error stream"] if err else []
        elif status == 2:
            allowed = set()
            if not (err.startswith("error: ") and err.endswith("\n") and err.count("\n") == 1):
                yield f"it failed and said {err!r}"
        elif status == 1:
            if err and not (err.startswith("stopped: ") and err.count("\n") == 1):
                yield f"it stopped and said {err!r}"
            if not err and "left out" not in out:
                yield f"it ended with status 1 and said {out!r}"
        else:
            yield f"it ended with status {status}"
        if changed - allowed:
            yield f"status {status}, {err!r}, and it changed {sorted(changed - allowed)}"
        odd = {char for char in out + err if not char.isprintable() and char != "\n"}
        if odd:
            yield f"it printed {odd} in {out + err!r}"
        for path in changed & allowed:
            if path.endswith("resume.safetensors"):
                Run.open_config(Path(path).parent)  # what was saved can be continued


def outcome(number, file, template, parsers, folder):
    """What is wrong with the answer to an input, as text; empty where nothing is."""
    one = Input(number, file)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template(one.model, one.part), folder, symlinks=True)
    with contextlib.chdir(folder):
        found = list(one.run(parsers))
    return "".join(f"\n{one}: {sentence}" for sentence in found)


@pytest.mark.parametrize("file", READ)
def test_a_mutated_file_is_read_or_refused_in_one_sentence(file, template, parsers, tmp_path):
    count = -(-INPUTS * READ[file][0] // SHARES)
    numbers = range(count) if ONLY is None else [int(ONLY)]
    found = [text for number in numbers if (text := outcome(number, file, template, parsers, tmp_path / "work"))]
    assert not found, f"{len(found)} of {len(numbers)} inputs with seed {SEED}: {''.join(found[:8])}"
