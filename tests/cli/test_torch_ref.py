"""`python -m torch_ref`: the same options and the same kind of run, and the comparison of the two sides."""

import json
from pathlib import Path

import pytest

from tests.support.command_line import MODELS, SMALL, caller, read_metrics, without_times
from torch_ref.commands import build_parser


@pytest.fixture
def torch_ref(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return caller(build_parser, capsys)


@pytest.mark.parametrize("model", MODELS)
def test_a_run_of_the_oracle_is_a_run(torch_ref, scratch, trained, model):
    result = torch_ref("train", model, *SMALL, *MODELS[model], "--epochs", 2, "--out", "theirs")
    assert result.status == 0, result.err
    ours, theirs = Path(trained(model)), Path("theirs")
    assert {path.name for path in theirs.iterdir()} == {path.name for path in ours.iterdir()}
    our_config, their_config = (json.loads((folder / "config.json").read_text()) for folder in (ours, theirs))
    assert (their_config["program"], our_config["program"]) == ("torch_ref", "scratch")
    assert their_config["parameters"] == our_config["parameters"]
    assert their_config["options"] == our_config["options"]
    assert [entry.keys() for entry in read_metrics(theirs)] == [entry.keys() for entry in read_metrics(ours)]
    # Its weights are ours to evaluate, with its own figures.
    ours_of_theirs, last = json.loads(scratch("evaluate", theirs, "--json").out), read_metrics(theirs)[-1]
    for name in ("loss", "reconstruction", "psnr"):
        assert ours_of_theirs[name] == pytest.approx(last[f"held_out_{name}"], rel=1e-4)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("options", [
    ["vae", "--preset", "mlp", *SMALL[2:], "--widths", "20,10", *MODELS["vae"]],
    ["vqvae", "--network", "pooling", "--norm", "batch", "--codebook-init", "kmeans", *SMALL, *MODELS["vqvae"]],
], ids=["mlp", "batch norm"])
def test_other_networks_of_the_oracle_resume_exactly_and_scratch_takes_their_runs(torch_ref, scratch, options):
    torch_ref("train", *options, "--epochs", 2, "--out", "whole")
    torch_ref("train", *options, "--epochs", 1, "--out", "parts")
    assert torch_ref("train", "--resume", "parts", "--epochs", 2).status == 0
    assert Path("whole/checkpoint.safetensors").read_bytes() == Path("parts/checkpoint.safetensors").read_bytes()
    ours, last = json.loads(scratch("evaluate", "whole", "--json").out), read_metrics("whole")[-1]
    for name in ("loss", "reconstruction", "psnr"):
        assert ours[name] == pytest.approx(last[f"held_out_{name}"], rel=1e-4)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_oracle_resumes_exactly_too(torch_ref, optimizer):
    options = ["vae", *SMALL, *MODELS["vae"], "--optimizer", optimizer, "--lr", 1e-3 if optimizer == "adam" else 1e-5]
    torch_ref("train", *options, "--epochs", 3, "--out", "whole")
    torch_ref("train", *options, "--epochs", 1, "--out", "parts")
    assert torch_ref("train", "--resume", "parts", "--epochs", 3).status == 0
    assert Path("whole/checkpoint.safetensors").read_bytes() == Path("parts/checkpoint.safetensors").read_bytes()
    assert without_times(read_metrics("whole")) == without_times(read_metrics("parts"))


@pytest.mark.usefixtures("no_pictures")
def test_the_oracle_trains_the_published_preset_by_steps_and_resumes(torch_ref, scratch):
    options = ["vqvae", "--preset", "published", "--hidden", 8, "--residual-channels", 4, *MODELS["vqvae"],
               "--image-size", 16, "--limit", 70, "--log-steps", 2]
    torch_ref("train", *options, "--steps", 5, "--out", "whole")
    torch_ref("train", *options, "--steps", 1, "--out", "parts")
    assert torch_ref("train", "--resume", "parts", "--steps", 5).status == 0
    assert Path("whole/checkpoint.safetensors").read_bytes() == Path("parts/checkpoint.safetensors").read_bytes()
    steps = [[json.loads(line) for line in Path(run, "steps.jsonl").read_text().splitlines()]
             for run in ("whole", "parts")]
    assert steps[0] == steps[1] and [line["step"] for line in steps[0]] == [2, 4]
    assert scratch("evaluate", "whole").status == 0
    scratch("train", *options, "--steps", 2, "--out", "ours")
    ours = json.loads(Path("ours/steps.jsonl").read_text())
    assert ours.keys() == steps[0][0].keys()


def test_a_run_is_continued_by_the_program_that_began_it(torch_ref, scratch, trained):
    result = torch_ref("train", "--resume", trained("ae"))
    assert result.status == 2 and "was trained by scratch" in result.err


@pytest.mark.parametrize("argv, part", [
    ("train gan", "'gan'"),
    ("train ae --image-size 15 --limit 4", "15×15"),
    ("train ae --image-size 16 --limit 4 --device gpu:99", "choose cpu"),
    ("train ae --limit 4 --plain", "--plain are options of scratch"),
    ("compare gan", "gan"),
    ("compare ae --preset published", "no recipe for ae"),
    ("train vqvae --network residual --image-size 18 --limit 4", "18×18"),
    ("compare ae --steps 0", "--steps"),
    ("compare ae --data nothing", "'nothing'"),
    ("compare vqvae --network mlp", "gives a vector of features"),
    ("compare ae --hidden 8", "--hidden counts only with network residual"),
    ("compare ae --restart-after 5", "--restart-after is an option of vqvae"),
    ("compare dvae --free-bits 0.5", "--free-bits is an option of vae"),
    ("compare vae --free-bits 0.5 --capacity 3", "leave one of them out"),
    ("compare vqvae --ema-decay 0.5", "--ema-decay counts only with --codebook-update ema"),
    ("gradcheck Nothing", "'Nothing'"),
])
def test_bad_input_is_one_sentence(torch_ref, argv, part):
    result = torch_ref(*argv.split())
    assert result.status == 2 and part in result.err and result.err.count("\n") == 1


def test_compare_prints_and_judges(torch_ref, monkeypatch):
    arguments = ["compare", "ae", "--batch-size", 4, "--steps", 2]
    result = torch_ref(*arguments)
    assert result.status == 0 and "decoder.4.bias" in result.out and "agree" in result.out
    printed = json.loads(torch_ref(*arguments, "--json").out)
    assert printed["ok"] and printed["steps"] == 2 and len(printed["losses"]["scratch"]) == 2
    network = torch_ref(*arguments, "--network", "pooling", "--norm", "batch", "--channels", "4,8")
    assert network.status == 0 and "decoder.5.bias" in network.out and "encoder.1.weight" in network.out
    mlp = json.loads(torch_ref(*arguments, "--preset", "mlp", "--json").out)
    assert mlp["ok"] and mlp["likelihood"] == "bernoulli" and "decoder.2.weight" in mlp["gradients"]

    from scratch.layers import Sigmoid

    correct = Sigmoid.backward
    monkeypatch.setattr(Sigmoid, "backward", lambda self, dy: correct(self, dy) * (1 + 1e-9))
    result = torch_ref(*arguments)
    assert result.status == 1 and "BROKEN" in result.out
