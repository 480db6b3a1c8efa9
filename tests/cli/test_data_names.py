"""The names of data sets on the command line: what `--help` shows, and the message for a wrong name."""

import pytest

from data_utils import NAMES
from tests.cli.test_errors import assert_one_sentence


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
])
def test_numbers_beyond_any_machine(scratch, option, bound):
    assert_one_sentence(scratch("train", "ae", option, 10**30), str(10**30), bound)


def test_a_name_cannot_move_the_cursor(scratch):
    error = scratch("train", "ae", "--data", "folder:a\nb\x1b[31m")
    assert_one_sentence(error, "there is no folder", r"a\nb\x1b[31m")
    assert "\x1b" not in error.err
