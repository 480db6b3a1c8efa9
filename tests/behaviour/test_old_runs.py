"""Run folders that earlier versions wrote (old_runs/): evaluate prints the figures that it printed then, training goes
on as it went on then, and all that such a folder lacks is added in one function."""

import ast
import inspect
import json
import shutil
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import scratch as library
from scratch.__main__ import build_parser
from scratch.models.system import find_system
from scratch.options.errors import InputError
from scratch.options.resolve import run_options
from scratch.runs import migrate
from scratch.runs.migrate import LATER
from tests.support.command_line import caller
from torch_ref.__main__ import build_parser as torch_parser

OLD = Path(__file__).parent / "old_runs"
RUNS = sorted(path.name for path in OLD.iterdir() if path.is_dir())
ENDS = {"vqvae": ["--steps", 7]}  # the others go on to two epochs
NO_FIGURES = ("seconds", "images_per_second", "data", "images")
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}  # processors round differently


@pytest.fixture(params=RUNS)
def old(request, tmp_path, monkeypatch):
    """The test's own copy of an old run, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(OLD / request.param, tmp_path / request.param))


@pytest.fixture
def scratch(capsys):
    return caller(build_parser, capsys)


def then(folder):
    return json.loads((OLD / folder.name / "then.json").read_text())


def options_of(folder):
    return json.loads((folder / "config.json").read_text())["options"]


def assert_same_figures(found, expected, dtype):
    """Every figure that was printed then is printed now, and is the same; sentences may be worded otherwise."""
    compared = 0
    for name, value in expected.items():
        assert name in found, name
        if not isinstance(value, str) and name not in NO_FIGURES:
            assert found[name] == pytest.approx(value, rel=TOLERANCE[dtype], abs=TOLERANCE[dtype]), name
            compared += 1
    assert compared >= 3


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def resume(folder, capsys):
    """Go on with a run as far as the version that wrote it did."""
    program = torch_parser if folder.name.startswith("torch") else build_parser
    call = caller(program, capsys)
    done = call("train", "--resume", folder, *ENDS.get(folder.name, ["--epochs", 2]))
    assert (done.status, done.err) == (0, "")


def test_every_system_has_an_old_run():
    assert {options_of(OLD / name)["model"] for name in RUNS} == {"ae", "vae", "vqvae", "vqvae2", "dvae"}
    programs = {json.loads((OLD / name / "config.json").read_text())["program"] for name in RUNS}
    assert programs == {"scratch", "torch_ref"}


def test_evaluate_prints_the_same_figures_then_and_now(old, scratch):
    shown = scratch("evaluate", old, "--json")
    assert (shown.status, shown.err) == (0, "")
    assert_same_figures(json.loads(shown.out), then(old)["evaluate"], options_of(old)["dtype"])


def test_training_goes_on_as_it_went_on_then(old, scratch, capsys):
    dtype, expected = options_of(old)["dtype"], then(old)
    resume(old, capsys)
    for name, wanted in (("metrics.jsonl", expected["resumed"]), ("steps.jsonl", expected["steps"])):
        found = lines(old / name)
        assert len(found) == len(wanted)
        for line, line_then in zip(found, wanted, strict=True):
            assert_same_figures(line, line_then, dtype)
    shown = scratch("evaluate", old, "--json")
    assert_same_figures(json.loads(shown.out), expected["evaluate_resumed"], dtype)


@pytest.mark.usefixtures("no_pictures")
def test_a_run_that_went_on_holds_every_option(old, capsys):
    resume(old, capsys)
    options = options_of(old)
    assert options.keys() == {"model", *run_options(find_system(options["model"]))}


def test_the_library_loads_it(old):
    metrics = library.load(old).metrics()
    assert metrics == lines(OLD / old.name / "metrics.jsonl")


@pytest.mark.parametrize("name", ["ae", "dvae", "vqvae2"])
def test_a_config_without_the_later_options(name, tmp_path, scratch, capsys):
    """One that has none of them, in config.json and in resume.safetensors, is that of the same run."""
    folder = Path(shutil.copytree(OLD / name, tmp_path / name))
    options, defaults = options_of(folder), run_options(find_system(options_of(folder)["model"]))
    left_out = [option for option in LATER if option in options
                and (option not in defaults or options[option] == defaults[option].default)]
    assert len(left_out) >= 10
    without_options(folder, left_out)
    shown = scratch("evaluate", folder, "--json")
    assert_same_figures(json.loads(shown.out), then(folder)["evaluate"], options["dtype"])
    resume(folder, capsys)
    assert_same_figures(lines(folder / "metrics.jsonl")[1], then(folder)["resumed"][1], options["dtype"])


def without_options(folder, names):
    """Take options out of both of a run's configs."""
    config = json.loads((folder / "config.json").read_text())
    for name in names:
        del config["options"][name]
    (folder / "config.json").write_text(json.dumps(config))
    path = folder / "resume.safetensors"
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    save_file(load_file(path), path, metadata={**metadata, "config": json.dumps(config)})


def test_an_option_that_was_always_there_is_missed(tmp_path):
    folder = Path(shutil.copytree(OLD / "ae", tmp_path / "ae"))
    without_options(folder, ["latent_dim"])
    with pytest.raises(InputError, match="latent_dim is missing"):
        library.load(folder)


def test_what_older_folders_lack_is_added_in_one_place():
    """The names of later options stand in migrate.py, and its functions are called where a config is read alone."""
    root = Path(library.__file__).parent
    callers = {path.relative_to(root).as_posix() for path in root.rglob("*.py")
               for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
               if isinstance(node, ast.Call) and getattr(node.func, "id", "") in vars(migrate)
               and inspect.getmodule(getattr(migrate, node.func.id)) is migrate}
    assert callers == {"runs/opening.py"}
