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
import functools
import hashlib
import io
import json
import os
import random
import shutil
import signal
import stat
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from scratch.__main__ import build_parser
from scratch.commands import shared, sweep, train
from scratch.commands.cli import main
from scratch.figures import page, report
from scratch.figures.pictures import loss_curves, png, run_curves
from scratch.figures.sweeps import over_option, rate_distortion_curve
from scratch.instruments import words
from scratch.runs.descriptions import FILES, PICTURES
from scratch.runs.run import Run
from scratch.runs.session import make_free_folder
from tests.cli.test_errors import assert_one_sentence
from tests.support import mutations
from tests.support.command_line import MODELS, SMALL

INPUTS = int(os.environ.get("AUTOENCODERS_FUZZ", 2000))
SEED = int(os.environ.get("AUTOENCODERS_FUZZ_SEED", 0))
ONLY = os.environ.get("AUTOENCODERS_FUZZ_ONLY")
SECONDS = 30  # that an input may take
BYTES = 2**32  # that it may ask for

TINY = "--channels 2,4 --image-size 8 --limit 12 --batch-size 8 --steps 3 --log-steps 2".split()  # ends inside an epoch
ALL, VECTORS, CODES, RANDOM = tuple(MODELS), ("ae", "vae"), ("vqvae", "vqvae2", "dvae"), ("vae", "dvae")
GREY, SEVERAL = ["--likelihood", "discretized_logistic"], {"vqvae": ["--code-groups", 2]}
GIVEN = {"vqvae": "caption", "vqvae2": "shape", "dvae": "none"}  # what the prior over the codes of each is given
TINY_PRIOR = ("--width 8 --heads 2 --blocks 1 --vocabulary 260 --batch-size 8 --steps 3 --log-steps 2").split()


@dataclass(frozen=True)
class Command:
    """A command line, and what it writes: patterns of paths. `share`: how often it is chosen beside others."""

    line: str
    writes: tuple = ()
    systems: tuple = ALL
    share: int = 1
    program: str = "scratch"


WRITTEN = (*FILES, *PICTURES, ".lock")  # a lock that was left is taken and released


def own(folder):
    """What training writes into a folder."""
    return tuple(f"{folder}/{name}" for name in WRITTEN)


# A run's own limit is a field like any other; without it the commands would be busy with 10,000 images.
READERS = (
    Command("evaluate run --json --limit 12", share=8),
    Command("evaluate run --limit 12", ("run/kl_per_dimension.png",), share=4),
    Command("evaluate run --json --importance-samples 2 --corruption gaussian:0.3 --limit 12", systems=RANDOM, share=2),
    Command("evaluate run --json --data folder:pictures"),
    Command("encode run --out o.npz --limit 12", ("o.npz",), share=6),
    Command("encode run --split train --limit 12", ("run/codes.npz",), share=2),
    Command("decode run codes.npz --out o.npz", ("o.npz", "o.png"), share=4),
    Command("bits run --json --limit 12", systems=CODES, share=3),
    Command("bits run --limit 12", systems=CODES),
    Command("bits run --limit 12", systems=VECTORS),
    Command("mig run --json --limit 12", systems=("vae",), share=2),
    Command("mig run --limit 12", ("run/mig.png",), systems=("vae",)),
    Command("probe run --json --limit 12", share=2),
    Command("probe run --limit 12"),
    Command("retrieve run --json --limit 12", share=2),
    Command("retrieve run --limit 12", ("run/neighbours.png",)),
    Command("anomaly run --against shapes:pill --limit 12 --json", share=2),
    Command("anomaly run --against shapes:pill --limit 12 --out o.png", ("o.png",)),
    Command("downstream run other --corruption masking:0.3 --limit 12", share=2),
    Command("pca run --json --limit 12", systems=VECTORS, share=2),
    Command("pca other run --out o.png --limit 12", ("o.png",), systems=VECTORS),
    Command("reconstruct run --count 2 --out o.png --limit 12", ("o.png",)),
    Command("reconstruct other --beside run --count 2 --limit 12", ("other/reconstructions.png",)),
    Command("sample run --count 2 --seed 3 --limit 12", ("run/samples.png",)),
    Command("variations run --count 2 --limit 12", ("run/variations.png",), systems=RANDOM),
    Command("interpolate run --steps 2 --limit 12", ("run/interpolation.png",)),
    Command("traverse run --steps 2 --dimensions 1 --limit 12", ("run/traversals.png",), systems=VECTORS),
    Command("corners run --steps 2 --limit 12", ("run/corners.png",), systems=VECTORS),
    Command("aggregate run --limit 12", ("run/aggregate.png",), systems=VECTORS),
    Command("arithmetic run --factor x --from 0..0.5 --to 0.5..1 --steps 2 --count 2 --limit 12",
            ("run/arithmetic.png",), systems=VECTORS),
)
BEST = (
    Command("evaluate run --which best --json --limit 12", share=3),
    Command("encode run --which best --out o.npz --limit 12", ("o.npz",)),
)
LISTING = (Command("runs . --json", share=2), Command("runs .", share=2))
REPORT = (
    Command("report run other --limit 12 --out o.html", ("o.html",)),
    Command("report run --limit 12", ("run/report.html",)),
)
CURVES = Command("curves run other --out o.png", ("o.png",))
RESUME = (
    Command("train --resume run --steps 4", own("run"), share=4),
    Command("train --resume run --epochs 3", own("run")),
    Command("train --resume run", own("run")),
)
TORCH = Command("train --resume torch --steps 4", own("torch"),
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
RESUME_PRIOR = (
    Command("train --resume prior --steps 4", own("prior"), systems=CODES, share=4),
    Command("train --resume prior --epochs 3", own("prior"), systems=CODES),
)
BITS = (
    Command("bits codes --prior prior --json", systems=CODES, share=3),
    Command("bits codes --prior prior --coder 1", systems=CODES),
)
JUDGE = (
    Command("judge prior --by judge --count 2 --json", systems=("vqvae",), share=2),
    Command("judge prior --by judge --count 2 --without red", systems=("vqvae",)),
)
ON_PRIOR = (
    Command("evaluate prior --json", systems=CODES, share=6),
    Command("evaluate prior", systems=CODES),
    Command("sample prior --count 2 --out o.png", ("o.png",), systems=CODES, share=3),
    Command("sample prior --count 2 --text red --temperature 0.9 --top-k 3", ("prior/samples.png",), systems=("vqvae",),
            share=2),
    Command("sample prior --count 2 --label pill --top-p 0.9", ("prior/samples.png",), systems=("vqvae2",), share=2),
    Command("sample prior --count 2 --codes-from codes", ("prior/samples.png",), systems=CODES),
    Command("complete prior --rows 1 --index 0 1 --count 1", ("prior/completions.png",), systems=("vqvae", "dvae"),
            share=3),
    Command("complete prior --rows 1 --index 0 --count 1 --text red", ("prior/completions.png",), systems=("vqvae",)),
    Command("likelihood prior", ("prior/likelihood.png",), systems=CODES, share=3),
    Command("report prior", ("prior/report.html",), systems=CODES),
    *BITS, *JUDGE,
)
NEW_PRIOR = Command("train prior --of codes --given caption --out new", ("new", "new/*"), systems=("vqvae", "dvae"),
                    share=2)
ON_JUDGE = (*JUDGE, Command("evaluate judge --json", systems=("vqvae",)))
CAPTIONED = (
    Command("train prior --of codes --given caption --out new", ("new", "new/*"), systems=("vqvae",), share=4),
    Command("train --resume prior --steps 4", own("prior"), systems=("vqvae",)),
    Command("evaluate prior --json", systems=("vqvae",)),
    Command("complete prior --rows 1 --index 0 --count 1", ("prior/completions.png",), systems=("vqvae",)),
    Command("likelihood prior", ("prior/likelihood.png",), systems=("vqvae",)),
)
READ = {  # {file: (how often it is chosen, the commands that read it)}
    "run/config.json": (24, (*READERS, *REPORT, *LISTING, CURVES)),
    "run/checkpoint.safetensors": (24, (*READERS, *REPORT)),
    "run/best.safetensors": (4, BEST),
    "run/resume.safetensors": (16, RESUME),
    "run/metrics.jsonl": (4, (*RESUME, CURVES, CURVES, *REPORT, *LISTING)),
    "run/steps.jsonl": (3, RESUME),
    "codes.npz": (10, (Command("decode run codes.npz --out o.npz", ("o.npz", "o.png")),)),
    "pictures/0.png": (5, PICTURED),
    "pictures": (3, PICTURED),
    "run/.lock": (1, RESUME),
    "unsaved/config.json": (2, (
        Command("train --resume unsaved"),
        Command("train MODEL --out unsaved", own("unsaved")),
    )),
    "torch/resume.safetensors": (1, (TORCH,)),
    "torch/metrics.jsonl": (1, (TORCH,)),
    "sweep/sweep.json": (2, SWEEP),
    "sweep/.lock": (1, SWEEP),
    **{f"sweep/seed=1/{name}": (1, SWEEP) for name in (
        "config.json", "evaluation.json", "checkpoint.safetensors", "resume.safetensors", "metrics.jsonl",
        "steps.jsonl")},
    "prior/config.json": (12, (*ON_PRIOR, *(replace(one, systems=CODES) for one in LISTING))),
    "prior/checkpoint.safetensors": (4, ON_PRIOR),
    "prior/resume.safetensors": (5, RESUME_PRIOR),
    "codes/config.json": (6, (*ON_PRIOR, *RESUME_PRIOR, NEW_PRIOR)),
    "codes/checkpoint.safetensors": (3, (*ON_PRIOR, *RESUME_PRIOR, NEW_PRIOR)),
    "judge/config.json": (2, ON_JUDGE),
    "judge/checkpoint.safetensors": (1, ON_JUDGE),
    "judge/resume.safetensors": (1, (
        Command("train --resume judge --steps 4", own("judge"), systems=("vqvae",)),)),
    "texts/0.txt": (2, CAPTIONED),
    "lines/captions.jsonl": (2, CAPTIONED),
}
PARTS = {"codes": "prior", "judge": "prior", "pictures": "run", "unsaved": "run"}  # {folder: what it is made with}
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
    if part == "prior":
        call("train", "judge", *TINY, "--out", "judge")
        call("train", model, *options(model), *SEVERAL.get(model, ()), *GREY, "--out", "codes")
        call("train", "prior", "--of", "codes", "--given", GIVEN[model], *TINY_PRIOR, "--out", "prior")
        return without_pictures()
    if part in ("texts", "lines"):
        make_captioned(Path(part))
        call("train", model, *options(model), "--data", f"folder:{part}", "--out", "codes")
        call("train", "prior", "--of", "codes", "--given", "caption", *TINY_PRIOR, "--out", "prior")
        return without_pictures()
    call("train", model, *options(model), "--keep", "best", "--out", "run")
    call("encode", "run", "--out", "codes.npz")
    without_pictures()
    shutil.copytree("run", "other")
    Path("unsaved").mkdir()
    shutil.copy("run/config.json", "unsaved")
    Path("pictures").mkdir()
    make_pictures(Path("pictures"))


def without_pictures():
    """Remove what training has drawn."""
    for path in Path().glob("*/*.png"):
        if path.name in PICTURES:
            path.unlink()


def make_pictures(folder):
    rng = random.Random(0)
    for number in range(4):
        (folder / f"{number}.png").write_bytes(mutations.picture(rng))


def make_captioned(folder):
    """A folder of pictures with their captions: a .txt beside each in `texts`, a file for all in `lines`."""
    folder.mkdir()
    make_pictures(folder)
    names = sorted(path.name for path in folder.iterdir())
    said = {name: f"a picture of the number {name[0]}" for name in names}
    if folder.name == "texts":
        for name, text in said.items():
            (folder / name).with_suffix(".txt").write_text(text)
    else:
        lines = (json.dumps({"file_name": name, "text": text}) for name, text in said.items())
        (folder / "captions.jsonl").write_text("".join(f"{line}\n" for line in lines))


@contextlib.contextmanager
def in_haste(draws=False, composes=True):
    """Within a `with` block, files are not waited for until they are on the disk, and unless `draws` is True pictures
    are composed and not drawn, which takes Matplotlib a tenth of a second. Unless `composes` is True, training composes
    none either."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch("os.fsync"))
        stack.enter_context(mock.patch.object(words, "CAPTIONS", 2))
        if not draws:
            stack.enter_context(mock.patch.object(shared, "png", lambda figure: b"a picture"))
            stack.enter_context(mock.patch.object(page, "png", lambda figure: b"a picture"))
            stack.enter_context(mock.patch.object(page, "svg", lambda figure, name: "<svg></svg>"))
        if not (draws or composes):
            for command in (train, sweep, report):
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


contents = functools.cache(snapshot)  # of a template, which stays as it is


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
        folder = self.file.partition("/")[0]
        self.part = PARTS.get(folder, folder if "/" in self.file else "run")
        trains, chance = self.command.line.split()[0] in ("train", "sweep"), self.rng.random()
        self.haste = in_haste(draws=chance < (0.02 if trains else 0.1), composes=chance < 0.25)
        self.done = "nothing"

    @property
    def argv(self):
        line = self.command.line.split()
        if line[:2] == ["train", "prior"]:
            return [*line[:2], *TINY_PRIOR, *line[2:]]
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
        name = {".png": "picture", ".txt": "caption"}.get(path.suffix, path.name)
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


def put_back(folder, source):
    """Make a folder the copy of a template, of which nothing is copied again but what earlier inputs have changed."""
    folder.mkdir(exist_ok=True)
    found, expected = snapshot(folder), contents(source)
    changed = sorted(path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path))
    for path in reversed(changed):  # what stands in a folder, then the folder
        if path in found:
            (os.rmdir if stat.S_ISDIR(found[path][0]) else os.unlink)(folder / path)
    for path in changed:
        if path in expected:
            if stat.S_ISDIR(expected[path][0]):
                (folder / path).mkdir()
            else:
                shutil.copy2(source / path, folder / path, follow_symlinks=False)


def outcome(number, file, template, parsers, folder):
    """What is wrong with the answer to an input, as text; empty where nothing is."""
    one = Input(number, file)
    folder = folder / f"{one.model} {one.part}"
    put_back(folder, template(one.model, one.part))
    with contextlib.chdir(folder):
        found = list(one.run(parsers))
    return "".join(f"\n{one}: {sentence}" for sentence in found)


@pytest.mark.parametrize("file", READ)
def test_a_mutated_file_is_read_or_refused_in_one_sentence(file, template, parsers, tmp_path):
    count = -(-INPUTS * READ[file][0] // SHARES)
    numbers = range(count) if ONLY is None else [int(ONLY)]
    found = [text for number in numbers if (text := outcome(number, file, template, parsers, tmp_path))]
    assert not found, f"{len(found)} of {len(numbers)} inputs with seed {SEED}: {''.join(found[:8])}"


# --- what it found, a test for each kind ------------------------------------------------------------------------------


@pytest.fixture
def tiny(template, tmp_path, monkeypatch):
    """tiny("vae") -> a working folder that holds `run`, `other`, `codes.npz` and `pictures`."""
    def copy(model, part="run"):
        folder = shutil.copytree(template(model, part), tmp_path / f"{model} {part}")
        monkeypatch.chdir(folder)
        return folder

    return copy


def change(path, function):
    """Write a file of JSON anew, changed in place by a function."""
    content = json.loads(Path(path).read_text())
    function(content)
    Path(path).write_text(json.dumps(content))


def with_weights(path, name, value):
    """Write a checkpoint anew with every number of a tensor replaced."""
    state = load_file(path)
    save_file({**state, name: np.full_like(state[name], value)}, path)


def test_a_sweep_leaves_the_files_of_another_program_alone(scratch, tiny):
    tiny("vae", "sweep")
    again = ["sweep", "vae", *options("vae"), "--out", "sweep", "--over", "seed=0,1", "--steps", 4]
    for content in ('{"name": "another program"}', "[]", "text", ""):
        Path("sweep/sweep.json").write_text(content)
        before = snapshot(".")
        assert_one_sentence(scratch(*again), "sweep/sweep.json", "name another folder")
        assert snapshot(".") == before


def test_a_sweep_that_cannot_write_in_the_end_trains_nothing(scratch, tiny):
    tiny("vae", "sweep")
    again = ["sweep", "vae", *options("vae"), "--out", "sweep", "--over", "seed=0,1", "--steps", 4]
    for name in ("sweep.json", "figures.png", "rate_distortion.png", "seed=1/evaluation.json"):
        path = Path("sweep", name)
        path.unlink(missing_ok=True)
        path.mkdir()
        before = snapshot(".")
        assert_one_sentence(scratch(*again), name)
        assert snapshot(".") == before
        path.rmdir()


@pytest.mark.parametrize("name, value", [
    ("psnr", "high"), ("codes_used", 1.5), ("parameters", None), ("rate", []), ("elbo", "removed"),
    ("psnr", "removed")])
def test_figures_of_another_kind_are_measured_again_or_left_out(scratch, tiny, name, value):
    tiny("vqvae", "sweep")
    kept = "sweep/seed=1/evaluation.json"
    change(kept, lambda found: found["figures"].pop(name) if value == "removed" else found["figures"].update(
        {name: value}))
    result = scratch("sweep", "vqvae", *options("vqvae"), "--out", "sweep", "--over", "seed=0,1")
    assert result.status == 0 and "codes" in result.out
    assert value == "removed" or json.loads(Path(kept).read_text())["figures"].get(name) != value


@pytest.mark.parametrize("number", [1e308, -1e308, np.inf, -np.inf, np.nan, 2**63 - 1, 1e-320])
@pytest.mark.parametrize("name", ["rate", "elbo", "distortion", "psnr", "mig"])
def test_figures_near_the_largest_float_are_drawn_without_a_warning(name, number):
    usual = {"rate": 1.0, "distortion": 2.0, "elbo": -3.0, "psnr": 10.0, "mig": 0.1}
    rows = [{"name": beta, "settings": {"beta": beta}, **usual} for beta in ("1", "2")]
    rows[1][name] = number
    for draw in (over_option, rate_distortion_curve):
        png(draw({"beta": ["1", "2"]}, rows))
    metrics = [{"epoch": epoch, "loss": value, "held_out_loss": value, "codes_used": value}
               for epoch, value in ((1, 1.0), (2, number))]
    png(loss_curves(metrics))
    png(run_curves({"a": metrics}, ["loss", "codes_used"]))


def test_trainings_that_begin_at_once_each_get_a_folder(scratch, monkeypatch):
    """The second one begins after the first has chosen where to write, and before anything is there."""
    create, argv = Run.create.__func__, ["train", "ae", *SMALL, *MODELS["ae"], "--steps", 1]

    def create_late(cls, folder, config):
        monkeypatch.setattr(Run, "create", classmethod(create))
        assert scratch(*argv).status == 0
        return create(cls, folder, config)

    monkeypatch.setattr(Run, "create", classmethod(create_late))
    assert scratch(*argv).status == 0
    assert sorted(path.parent.name for path in Path("runs").glob("*/resume.safetensors")) == [
        "ae-small-shapes", "ae-small-shapes-2"]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make_free_folder, [{"model": "vae", "preset": "small", "data": "shapes"}] * 8))
    assert len(set(made)) == 8 and Path("runs/vae-small-shapes-8") in made


def test_weights_that_are_not_finite_are_named(scratch, tiny):
    tiny("ae")
    for value in (np.nan, np.inf):
        with_weights("run/checkpoint.safetensors", "encoder.0.weight", value)
        result = scratch("evaluate", "run")
        assert_one_sentence(result, "run/checkpoint.safetensors", "encoder.0.weight is not finite", "restore it")
        assert "--lr" not in result.err


@pytest.mark.parametrize("model, name", [("ae", "encoder.0.weight"), ("vae", "bottleneck.mu.bias"),
                                         ("vae", "bottleneck.logvar.bias"), ("vqvae", "decoder.2.bias")])
@pytest.mark.parametrize("command", [
    "evaluate run", "encode run", "reconstruct run", "interpolate run", "variations run", "traverse run", "mig run",
    "aggregate run", "anomaly run --against shapes:pill --limit 12", "sample run --count 2"])
def test_weights_too_large_to_compute_with_are_named(scratch, tiny, command, model, name):
    """In float32 their outputs overflow: no warning reaches the user, no picture of what is no image is drawn."""
    tiny(model)
    with_weights("run/checkpoint.safetensors", name, 3e38)
    before = snapshot(".")
    result = scratch(*command.split())
    if result.status:
        assert_one_sentence(result)
        assert "--lr" not in result.err and snapshot(".") == before
        if command.startswith(("evaluate", "reconstruct")):
            assert_one_sentence(result, "its largest weight is 3e+38", name, "restore checkpoint.safetensors")
    else:  # these numbers do not reach what is printed or drawn
        assert not result.err and "nan" not in result.out


@pytest.mark.parametrize("name, value", [
    ("blocks.0.norm2.weight", 3e19), ("blocks.0.linear1.bias", 3e38), ("norm.weight", 3e38), ("start.weight", 1e30),
    ("levels.0.head.weight", 3e38)])
@pytest.mark.parametrize("command", [
    "evaluate prior", "sample prior --count 2 --top-p 0.9", "complete prior --rows 1 --index 0 --count 1",
    "likelihood prior", "bits codes --prior prior --coder 1"])
def test_weights_of_a_prior_too_large_to_compute_with_are_named(scratch, tiny, command, name, value):
    pytest.importorskip("constriction")
    tiny("dvae", "prior")
    with_weights("prior/checkpoint.safetensors", name, value)
    before = snapshot(".")
    result = scratch(*command.split())
    if result.status or name.startswith(("norm", "levels")):
        assert_one_sentence(result, "prior has diverged", f"its largest weight is {value:.3g}", name)
        assert snapshot(".") == before
    else:  # a norm has divided by these numbers
        assert not result.err and "nan" not in result.out


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("model", MODELS)
def test_a_training_that_diverges_warns_of_nothing_but_that(scratch, model, workers):
    """The suite turns each of NumPy's warnings into an error."""
    result = scratch("train", model, *SMALL, *MODELS[model], "--lr", 1e18, "--workers", workers, "--epochs", 2)
    assert result.status == 1
    assert result.err.startswith("stopped: ") and result.err.count("\n") == 1 and "smaller --lr" in result.err


@pytest.mark.parametrize("model", ["ae", "vae"])
def test_a_learning_rate_of_a_million_warns_of_nothing(scratch, model):
    result = scratch("train", model, *SMALL, *MODELS[model], "--lr", 1e6, "--steps", 6)
    assert result.status in (0, 1) and result.err.count("\n") == result.status


def test_a_run_whose_pictures_would_not_be_finite_has_diverged(scratch, tiny):
    """What it has saved stays, and can be continued."""
    tiny("vae")
    state = load_file("run/resume.safetensors")
    state["model.bottleneck.logvar.bias"][:] = 3e19
    _, metadata = mutations.read_tensors(Path("run/resume.safetensors").read_bytes())
    save_file(state, "run/resume.safetensors", metadata)
    for _ in range(2):
        result = scratch("train", "--resume", "run")
        assert result.status == 1 and result.err.startswith("stopped: ") and result.err.count("\n") == 1


def test_a_sweep_goes_on_where_the_data_of_a_run_are_not_there(scratch):
    result = scratch("sweep", "ae", *SMALL, *MODELS["ae"], "--steps", 1, "--out", "s", "--over",
                     "data=folder:nowhere,shapes:pill")
    assert result.status == 1 and not result.err
    assert "data=folder-nowhere: there is no folder 'nowhere'" in result.out and "left out" in result.out
    assert [run["name"] for run in json.loads(Path("s/sweep.json").read_text())["runs"]] == ["data=shapes-pill"]


def test_a_posterior_as_narrow_as_a_float_allows(scratch, tiny):
    tiny("vae")
    for value in (-1e30, 1e4):
        with_weights("run/checkpoint.safetensors", "bottleneck.logvar.bias", value)
        result = scratch("mig", "run", "--json")
        assert result.status == 2 or np.isfinite(json.loads(result.out)["mig"])


def test_a_npy_header_that_ends_inside_a_bracket(scratch, tiny):
    tiny("ae")
    entries = mutations.entries_of(Path("codes.npz").read_bytes())
    text = b"{'descr': '<f4', 'shape': (\n"
    entries["latents.npy"] = b"\x93NUMPY\x01\x00" + bytes([len(text), 0]) + text
    Path("codes.npz").write_bytes(mutations.archive_of(entries))
    assert_one_sentence(scratch("decode", "run", "codes.npz", "--out", "o.npz"), "codes.npz", "damaged")


@pytest.mark.parametrize("digits", [400, 4000])
def test_an_integer_of_hundreds_of_digits_in_a_config(scratch, tiny, digits):
    tiny("vqvae")
    change("run/config.json", lambda config: config["options"].update(commitment=10**digits))
    result = scratch("evaluate", "run")
    assert_one_sentence(result, "run/config.json: options.commitment", "expected a number")
    assert len(result.err) < 300


def test_metrics_whose_lines_hold_unlike_names_are_drawn(scratch, tiny):
    tiny("vqvae")
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    del lines[0]["held_out_codebook"]
    Path("run/metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert scratch("train", "--resume", "run", "--epochs", 3).status == 0


def test_a_run_whose_pictures_cannot_be_written_is_not_continued(scratch, tiny):
    tiny("ae")
    Path("run/curves.png").mkdir()
    before = snapshot(".")
    assert_one_sentence(scratch("train", "--resume", "run", "--epochs", 3), "run/curves.png", "a folder")
    assert snapshot(".") == before


def test_a_lock_that_is_a_link_leads_nowhere(scratch, tiny):
    tiny("ae")
    for target in ("elsewhere", "run/steps.jsonl", "/dev/null"):
        Path("run/.lock").symlink_to(target)
        before = snapshot(".")
        assert_one_sentence(scratch("train", "--resume", "run", "--steps", 4), "run/.lock is a link: remove it.")
        assert snapshot(".") == before
        Path("run/.lock").unlink()


def test_what_is_printed_is_escaped(scratch, tiny):
    tiny("vae")
    odd = "$x^{_\x1b[31m\n\u202e"
    os.rename("run", odd)
    for argv in (["evaluate", odd], ["encode", odd], ["reconstruct", odd, "--out", f"{odd}.png"], ["mig", odd],
                 ["train", "--resume", odd, "--steps", 4], ["downstream", odd, "other"], ["pca", odd, "other"]):
        result = scratch(*argv)
        assert result.status == 0, result.err
        assert {char for char in result.out if not char.isprintable()} <= {"\n"}
        assert "$x^{_\\x1b[31m\\n\\u202e" in result.out
    assert_one_sentence(scratch("aggregate", odd, "--colour", odd), "\\x1b[31m")


PRIORS = ("evaluate prior --json", "likelihood prior", "complete prior --rows 1 --index 0", "bits codes --prior prior")


@pytest.mark.parametrize("merges, words", [
    (None, "merges of its tokenizer are missing"), ([[97, 98]] * 5, "has 261 tokens: expected at most 260"),
    ([[97, 97], *([256 + n, 256 + n] for n in range(400))], "expected at most 16777216"),  # the last has 2⁴⁰¹ bytes
    ([[256, 1]], "expected two tokens from 0 to 255"), ([[1, 2**62]], "expected two tokens from 0 to 255")])
def test_merges_that_no_tokenizer_learns(scratch, tiny, merges, words):
    tiny("vqvae", "prior")
    change("prior/config.json", lambda config: config["data"].pop("merges") if merges is None else
           config["data"].update(merges=merges))
    before = snapshot(".")
    for more in ([], ["--text", "red"]):
        result = scratch("sample", "prior", "--count", 2, *more)
        assert_one_sentence(result, "prior: ", words, "restore its config.json")
    for command in PRIORS:
        assert_one_sentence(scratch(*command.split()), "prior/config.json", "put back what has changed")
    assert snapshot(".") == before


def test_merges_of_a_prior_without_captions(scratch, tiny):
    tiny("dvae", "prior")
    change("prior/config.json", lambda config: config["data"].update(merges=[[97, 98]]))
    assert_one_sentence(scratch("sample", "prior", "--text", "red"), "--text", "trained without captions")


def test_captions_that_have_changed_are_not_what_a_prior_knows(scratch, tiny):
    tiny("vqvae", "texts")
    before = snapshot(".")
    said = {path: path.read_text() for path in Path("texts").glob("*.txt")}
    for text, reason in (("ab ab", "other tokens than prior/config.json says"),
                         ("x" * 1000, "one of the captions is 'xxx")):
        for path in said:
            path.write_text(text)
        for command in PRIORS:
            assert_one_sentence(scratch(*command.split()), reason)
        assert_one_sentence(scratch("train", "--resume", "prior", "--steps", 4))
    for path, text in said.items():
        path.write_text(text)
    assert snapshot(".") == before
    assert all(scratch(*command.split()).status == 0 for command in PRIORS)


def test_a_caption_of_more_tokens_than_a_run_can_hold_is_not_trained_on(scratch, tiny):
    """A new run would have been saved, and could not have been opened again."""
    tiny("vqvae", "texts")
    before = snapshot(".")
    for text in ("word " * 5000, "x" * 100_000, " ".join(map(str, range(5000)))):
        Path("texts/0.txt").write_text(text)
        result = scratch("train", "prior", "--of", "codes", "--given", "caption", *TINY_PRIOR, "--out", "new")
        assert_one_sentence(result, "--given is caption, and one of the captions is ", "tokens: expected at most 4096")
        assert len(result.err) < 300 and snapshot(".").keys() == before.keys()


@pytest.mark.parametrize("name, value, words", [
    ("blocks", 2**31 - 1, "expected an integer ≤ 1000"), ("width", 2**30, "out of memory"),
    ("codes", 2**31 - 1, "out of memory"), ("labels", 2**31 - 1, "out of memory"),
    ("vocabulary", 2**16 + 1, "expected an integer ≤ 65536"), ("text_length", 4096, "a row has 4105 places"),
    ("grids", "2x2x2" + ",4096x4096x4096" * 500, "a row has "), ("grids", "9" * 5000, "expected the sizes of grids"),
    ("given", "\x1b\n\\", "--given is '\\x1b\\n\\\\', and"), ("of", "\x1b\n", "\\x1b\\n"), ("of", "a\0", "a\\x00"),
    ("of", "prior", "refers by of to the weights"), ("of", "judge", "refers by of to the weights")])
def test_options_of_a_prior_that_cannot_be(scratch, tiny, name, value, words):
    tiny("vqvae", "prior")
    change("prior/config.json", lambda config: config["options"].update({name: value}))
    before = snapshot(".")
    with watched():
        result = scratch("evaluate", "prior", "--json")
    assert_one_sentence(result, words)
    assert len(result.err) < 400 and snapshot(".") == before


# --- command lines ----------------------------------------------------------------------------------------------------


NUMBERS = ("--beta=linear:1:1:1e400", "--beta=cyclical:0:1:inf", "--beta=1e400", "--lr=linear:1e-3:0:inf",
           "--lr=linear:1e308:-1e308:5", "--lr=nan", "--lr=linear:::", "--free-bits=-inf",
           "--corruption=gaussian:1e400", "--corruption=gaussian:1e38", "--corruption=masking:nan", "--workers=1000000",
           "--image-size=4097", "--channels=", "--channels=4,0", "--latent-dim=2147483647", "--channels=2147483647")
COUNTS = ("epochs", "steps", "batch-size", "limit", "drawn", "seed", "latent-dim", "image-size", "workers", "log-steps")
NAMES = ("\x1b[31m", "a\nb", "$x^{", "-x", "--", "x" * 5000, "", "\u202e", "\udcff")
NAMED = ("data", "data-root", "without", "device", "preset", "network", "corruption", "likelihood", "dtype",
         "optimizer", "resume", "data=folder:", "data=shapes:", "device=gpu:")


@pytest.mark.parametrize("argument", [
    *NUMBERS, *(f"--{name}={count}" for name in COUNTS for count in (10**30, "9" * 5000, "-1", "1e3", "--"))])
def test_a_number_that_cannot_be(scratch, argument):
    result = scratch("train", "vae", *SMALL, *MODELS["vae"], argument)
    assert_one_sentence(result)
    assert len(result.err) < 400 and not Path("runs").exists()


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("value", NAMES)
def test_a_name_that_cannot_be(scratch, name, value):
    argument = f"--{name}{'' if '=' in name else '='}{value}"
    result = scratch("train", "vae", *SMALL, *MODELS["vae"], "--epochs", 1, argument)
    if name == "data-root" or (name, value) in (("resume", ""), ("device=gpu:", "")):  # the first is not looked at
        return
    assert_one_sentence(result)
    assert all(char.isprintable() for char in result.err[:-1]) and not Path("runs").exists()


@pytest.mark.parametrize("command", [
    "evaluate NAME", "train NAME", "train --resume=NAME", "NAME", "decode run NAME", "encode run --out=NAME/x",
    "curves NAME --out=o.png", "reconstruct run --beside NAME", "arithmetic run --factor=NAME --from=0 --to=1",
    "aggregate run --colour=NAME", "anomaly run --against=NAME", "curves run --metric NAME --out o.png",
    "evaluate run --NAME", "evaluate run --corruption=NAME", "sweep vae --out=s --over=NAME",
    "sweep vae --out=s --over=beta=NAME"])
@pytest.mark.parametrize("name", [name for name in NAMES if name])
def test_a_name_in_the_wrong_place(scratch, tiny, command, name):
    tiny("vae")
    before = snapshot(".")
    result = scratch(*(word.replace("NAME", name) for word in command.split()))
    assert_one_sentence(result)
    assert all(char.isprintable() for char in result.err[:-1]) and snapshot(".") == before


@pytest.mark.parametrize("command", [
    "sample run --count 999999999999", "variations run --index 2000000000", "interpolate run --steps 99999999999",
    f"variations run --index {10**30}", "traverse run --span 1e308", "traverse run --span nan",
    "arithmetic run --factor x --from 0..0.5 --to 0.5..1 --amount 1e308", "evaluate run --corruption gaussian:1e38",
    "corners run --index 0 0 0 -1", f"evaluate run --importance-samples {10**30}", "arithmetic run --factor x --from "
    "nan --to 1e400", "arithmetic run --factor x --from .. --to 1..2..3", "evaluate run --corruption gaussian:1e400"])
def test_a_count_that_cannot_be(scratch, tiny, command):
    tiny("vae")
    before = snapshot(".")
    assert_one_sentence(scratch(*command.split()))
    assert snapshot(".") == before


@pytest.mark.parametrize("command", [
    "sample prior --count 999999999999", "sample prior --temperature nan", f"sample prior --top-k {10**30}",
    "sample prior --top-p 0", "sample prior --label 7", f"sample prior --label {10**30}", "sample prior --text",
    "sample prior --label \u00b2", f"sample prior --label {'9' * 5000}", "sample prior --text \udcff",
    "sample prior --codes-from \x1b[31m",
    "complete prior --rows 2", f"complete prior --rows {10**30}", "complete prior --rows 1 --index 2000000000",
    "bits codes --prior codes", "bits codes --prior judge", "bits codes --coder 1", "bits codes --prior \x1b[31m",
    f"bits codes --prior prior --coder {10**30}", "judge prior --by codes", "judge prior --by prior",
    "judge judge --by prior", f"judge prior --by judge --count {10**30}", "judge prior --by judge --without $x^{",
    "sample judge", "evaluate prior --limit 3", "likelihood judge", "complete judge --rows 1", "bits prior"])
def test_what_a_prior_cannot_do(scratch, tiny, command):
    tiny("vqvae", "prior")
    before = snapshot(".")
    result = scratch(*command.split())
    assert_one_sentence(result)
    assert all(char.isprintable() for char in result.err[:-1]) and snapshot(".") == before


@pytest.mark.parametrize("argument", [
    *(f"--{name}={count}" for name in ("width", "heads", "blocks", "vocabulary", "text-length", "codes", "labels")
      for count in (2**31, 10**30, "9" * 5000, "-1", "1e3")),
    "--blocks=2147483647", "--dropout=1", "--grids=", "--grids=2x2x2x2", "--grids=0x2", "--given=", "--of=",
    "--of=judge"])
def test_an_option_of_a_prior_that_cannot_be(scratch, tiny, argument):
    tiny("vqvae", "prior")
    before = snapshot(".")
    assert_one_sentence(scratch("train", "prior", "--of", "codes", *TINY_PRIOR, argument, "--out", "new"))
    assert snapshot(".") == before
