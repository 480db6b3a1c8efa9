"""Words to pictures: the commands `judge` and `dalle`, on tiny models."""

import json
from pathlib import Path

import pytest

from scratch.commands import dalle
from tests.cli.test_errors import assert_one_sentence
from tests.cli.test_new_bottleneck import same_weights
from tests.cli.test_torch_ref import torch_ref  # noqa: F401  (a fixture)

TINY = ["--batch-size=16", "--limit=40"]


@pytest.fixture
def small_dalle(monkeypatch):
    codes = ["vqvae", "--channels=4,8", "--codes=16", "--drawn=48", "--epochs=1", "--image-size=16", "--batch-size=16"]
    prior = ["--given=caption", "--drawn=40", "--epochs=2", "--width=8", "--heads=2", "--blocks=1", "--batch-size=16",
             "--text-length=24"]
    monkeypatch.setattr(dalle, "CODES", codes)
    monkeypatch.setattr(dalle, "PRIOR", prior)


@pytest.mark.usefixtures("small_dalle")
def test_from_nothing_to_a_page(scratch):
    result = scratch("dalle", "--out", "d", "--without", "red triangle")
    assert result.status == 0, result.err
    assert Path("d", "page.png").exists()
    for command in ("train vqvae", "train prior --of=d/codes --given=caption", "sample d/prior"):
        assert f"python -m scratch {command}" in result.out
    options = json.loads(Path("d", "prior", "config.json").read_text())["options"]
    assert options["without"] == "red triangle" and options["drawn"] == 40

    assert scratch("train", "judge", "--channels", "4,8", "--image-size", 16, *TINY, "--epochs", 1,
                   "--out", "j").status == 0
    result = scratch("judge", "d/prior", "--by", "j", "--count", 6)
    assert result.status == 0, result.err
    for line in ("real images", "reconstructed", "generated", "generated, captions shuffled",
                 "red triangle, generated", "measured on the pixels", "nearest training image", "one caption"):
        assert line in result.out, result.out
    found = json.loads(scratch("judge", "d/prior", "--by", "j", "--count", 6, "--json").out)
    tables = found["words"]
    assert tables["real images"]["judge"].keys() == {"size", "colour", "shape", "row", "column", "ground", "all"}
    assert found["composition"] == "red triangle" and "red triangle, real images" in tables
    assert tables["real images"]["pixels"]["row"] >= 0.8
    assert found["nearest"].keys() == {"generated", "held out, reconstructed", "held out"}
    assert found["diversity"]["real"] > 0 and found["diversity"]["generated"] >= 0


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.usefixtures("small_dalle")
def test_a_page_that_was_begun_goes_on(scratch, monkeypatch):
    assert scratch("dalle", "--out", "whole").status == 0
    prior = dalle.PRIOR
    monkeypatch.setattr(dalle, "PRIOR", [word.replace("epochs=2", "epochs=1") for word in prior])
    assert scratch("dalle", "--out", "parts").status == 0
    result = scratch("dalle", "--out", "parts")
    assert result.status == 0 and "train --resume=parts/prior" in result.out, result.err
    assert scratch("train", "--resume", "parts/prior", "--epochs", 2).status == 0
    assert same_weights("whole/prior", "parts/prior") and same_weights("whole/codes", "parts/codes")


@pytest.mark.usefixtures("no_pictures")
def test_what_the_judge_refuses(scratch, trained):
    trained("vqvae")
    scratch("train", "judge", "--channels", "4", "--image-size", 16, *TINY, "--epochs", 1, "--out", "j")
    sizes = ["--width", 8, "--heads", 2, "--blocks", 1, "--batch-size", 16, "--epochs", 1]
    scratch("train", "prior", "--of", "vqvae", *sizes, "--out", "plain")
    scratch("train", "prior", "--of", "vqvae", "--given", "caption", "--text-length", 24, *sizes, "--out", "prior")
    assert_one_sentence(scratch("judge", "prior", "--by", "vqvae"), "--by vqvae is a run of vqvae", "train judge")
    assert_one_sentence(scratch("judge", "plain", "--by", "j"), "without captions", "--given caption")
    assert_one_sentence(scratch("judge", "j", "--by", "j"), "learned priors")
    scratch("train", "judge", "--channels", "4", "--image-size", 8, *TINY, "--epochs", 1, "--out", "small")
    assert_one_sentence(scratch("judge", "prior", "--by", "small"), "--by is a judge of 8 pixels", "--image-size 16")
    assert_one_sentence(scratch("judge", "prior", "--by", "j", "--without", "red elephant"), "'elephant'")
    assert_one_sentence(scratch("train", "judge", "--image-size", 20, *TINY, "--out", "x"), "--channels has 4 entries",
                        "20 pixels")


def test_both_judges_are_compared(torch_ref):  # noqa: F811
    options = ["--channels", "4,6", "--batch-size", 8, "--steps", 4]
    found = json.loads(torch_ref("compare", "judge", *options, "--json").out)
    assert found["ok"], found["checks"]
