"""The command lines, called in this process, on models so small that an epoch takes a moment."""

import json
import shutil
from types import SimpleNamespace
from unittest import mock

import pytest

from scratch.__main__ import build_parser
from scratch.commands import train
from scratch.commands.cli import main
from scratch.figures.of_run import pictures_of

SMALL = "--channels 4,8 --image-size 16 --limit 40 --batch-size 16".split()  # the last batch holds 8
MODELS = {
    "ae": ["--latent-dim", "6"],
    "vae": ["--latent-dim", "6"],
    "vqvae": ["--codes", "16", "--code-dim", "8"],
    "vqvae2": ["--codes", "16", "--code-dim", "8"],
    "dvae": ["--codes", "16", "--code-dim", "8", "--temperature", "1"],
}


@pytest.fixture
def scratch(capsys, tmp_path, monkeypatch):
    """scratch("train", "ae", ...) -> its exit status, standard output and standard error, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return caller(build_parser, capsys)


def caller(build_parser, capsys):
    """call("train", "ae", ...) -> exit status, output and errors of a program. As in its __main__, each call builds a
    parser for its own words: the options of every command would take longer than many a command does."""

    def call(*argv):
        capsys.readouterr()
        words = [str(argument) for argument in argv]
        status = main(build_parser(words), words)
        captured = capsys.readouterr()
        return SimpleNamespace(status=status, out=captured.out, err=captured.err)

    return call


@pytest.fixture(scope="session")
def finished_runs(tmp_path_factory):
    """{model: folder of a run of two epochs}, trained when first asked for; with its pictures, also where the test that
    asks draws none."""
    folder, runs = tmp_path_factory.mktemp("runs"), {}

    def run(model):
        if model not in runs:
            runs[model] = folder / model
            options = [*SMALL, *MODELS[model], "--epochs", "2", "--out", str(runs[model])]
            with mock.patch.object(train, "pictures_of", pictures_of):
                assert main(build_parser(), ["train", model, *options]) == 0
        return runs[model]

    return run


@pytest.fixture
def trained(scratch, finished_runs):
    """trained("vae") -> the folder of a run of two epochs, the test's own copy."""

    def copy(model):
        return str(shutil.copytree(finished_runs(model), model))

    return copy


def read_metrics(folder):
    with open(f"{folder}/metrics.jsonl") as file:
        return [json.loads(line) for line in file]


def without_times(metrics):
    return [{k: v for k, v in entry.items() if k not in ("seconds", "images_per_second")} for entry in metrics]
