"""The names of data sets on the command line: what `--help` shows, and the message for a wrong name."""

import os

import numpy as np
import pytest
from PIL import Image

from data_utils import NAMES, load
from tests.cli.test_errors import assert_one_sentence
from tests.support.command_line import SMALL


def test_help_shows_the_names(scratch, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "500")  # else argparse breaks a line at the hyphen of fashion-mnist
    with pytest.raises(SystemExit):
        scratch("train", "--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{', '.join(NAMES[:-1])} or {NAMES[-1]} (default: shapes)" in shown


def test_the_nearest_name_is_told(scratch):
    assert_one_sentence(scratch("train", "ae", "--data", "cifar100"), "'cifar100'", "the nearest is 'cifar10'", "svhn")


@pytest.mark.parametrize("option", ["--data", "--lr", "--image-size", "--data-root"])
def test_two_dashes_are_no_value(scratch, option):
    assert_one_sentence(scratch("train", "ae", f"{option}=--"), option, "expected a value, '--' was given")


@pytest.mark.parametrize(("option", "bound"), [
    ("--image-size", "an integer ≤ 4096"),
    ("--limit", "an integer ≤ 1000000000"),
    ("--drawn", "an integer ≤ 10000000"),
])
def test_numbers_beyond_any_machine(scratch, option, bound):
    assert_one_sentence(scratch("train", "ae", option, 10**30), str(10**30), bound)


def test_a_name_cannot_move_the_cursor(scratch):
    error = scratch("train", "ae", "--data", "folder:a\nb\x1b[31m")
    assert_one_sentence(error, "there is no folder", r"a\nb\x1b[31m")
    assert "\x1b" not in error.err


# --- more shapes, and compositions that are left out ------------------------------------------------------------------

COMPOSED = [*SMALL, "--steps", 2, "--latent-dim", 4, "--drawn", 30, "--without", "red,square", "--out", "run"]


def test_a_run_without_some_compositions_is_used_on_other_images(scratch):
    result = scratch("train", "ae", *COMPOSED)
    assert result.status == 0, result.err
    own = load("shapes", drawn=30, limit=40, image_size=16, without="red,square")
    assert own.describe() in result.out and 0 < len(own.train) < 30
    for name in ("a.png", "b.png"):
        Image.new("RGB", (20, 20), "red").save(name)
    for command in ("encode run --split train --out own.npz", "evaluate run", "evaluate run --data folder:. --json",
                    "evaluate run --data shapes:square --limit 20",
                    "encode run --data shapes:square --limit 20 --split train --out other.npz",
                    "reconstruct run --data folder:. --count 1 --out o.png", "anomaly run --against shapes:pill",
                    "probe run --limit 20", "report run --data folder:. --out o.html"):
        result = scratch(*command.split())
        assert result.status == 0, (command, result.err)
    for file, count in (("own.npz", len(own.train)), ("other.npz", 20)):  # no square was left out of the second
        with np.load(file) as codes:
            assert len(codes["latents"]) == count
    result = scratch("train", "--resume", "run", "--steps", 4)
    assert result.status == 0, result.err


@pytest.mark.parametrize(("arguments", "words"), [
    (["--drawn", 5, "--data", "mnist"], ["drawn 5", "'mnist' is not drawn"]),
    (["--without", "red triangel"], ["'triangel'", "the nearest is 'triangle'"]),
    (["--without", "square", "--data", "shapes:square"], ["none of the 10000 training images"]),
])
def test_shapes_that_cannot_be_chosen(scratch, arguments, words):
    assert_one_sentence(scratch("train", "ae", *arguments), *words)
    assert not os.path.exists("runs")
