"""What someone meets who has just installed the project: answers, helps, what a training says, and what is kept."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from tqdm import tqdm

from scratch import __version__, build, summary
from scratch.__main__ import build_parser
from scratch.commands import latents
from scratch.training.loop import BAR
from tests.cli.test_errors import assert_one_sentence
from tests.support.command_line import MODELS, SMALL, caller, read_metrics
from torch_ref.commands import build_parser as torch_parser

PROGRAMS = {"scratch": build_parser, "torch_ref": torch_parser}


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS)
def test_without_a_command_the_commands_are_listed_and_one_to_begin_with(program, capsys):
    result = caller(PROGRAMS[program], capsys)()
    assert result.status == 0 and not result.err
    assert "train" in result.out and re.search(rf"Begin with: python -m {program} \w+ vqvae\n$", result.out)


@pytest.mark.parametrize("program", PROGRAMS)
def test_version(program, capsys):
    with pytest.raises(SystemExit) as ended:
        PROGRAMS[program]().parse_args(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"autoencoders-from-scratch {__version__}\n"


def test_an_option_without_a_command_is_refused(scratch):
    assert_one_sentence(scratch("--versoin"), "--version")


# --- what training prints ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("more", [
    *([model] for model in MODELS), ["vae", "--beta", "linear:0:1:5"], ["vqvae", "--codebook-update", "ema"],
    ["ae", "--sparsity", "0.1"], ["vae", "--free-bits", "0.5"]], ids=" ".join)
def test_the_printed_loss_is_the_sum_beside_it(scratch, more):
    result = scratch("train", *more, *SMALL, *MODELS[more[0]], "--epochs", 2, "--out", "run")
    assert result.status == 0, result.err
    lines = [line for line in result.out.splitlines() if line.startswith("epoch ")]
    for line, metrics in zip(lines, read_metrics("run"), strict=True):
        loss, parts = re.search(r"loss (\S+) = (.+?)  ", line).groups()
        shares = {name: float(value) for name, value in (part.split() for part in parts.split(" + "))}
        assert sum(shares.values()) == pytest.approx(float(loss), rel=2e-3)
        assert float(loss) == pytest.approx(metrics["loss"], rel=1e-3)
        assert {"reconstruction"} <= shares.keys() <= metrics.keys()
        assert not (shares.keys() & set(re.findall(r"  (\w+) ", line)))  # no term stands twice


def test_evaluate_shows_the_same_sum(scratch, trained):
    out = scratch("evaluate", trained("vqvae"), "--limit", 20).out
    loss, parts = re.search(r"^  loss +(\S+) += (.+)$", out, re.M).groups()
    assert sum(float(part.split()[1]) for part in parts.split(" + ")) == pytest.approx(float(loss), rel=2e-3)
    assert [part.split()[0] for part in parts.split(" + ")] == ["reconstruction", "codebook", "commitment"]


@pytest.mark.parametrize("model", MODELS)
def test_after_training_the_program_says_how_good_it_is_and_what_to_try(scratch, model):
    """Every command works as it is printed."""
    out = scratch("train", model, *SMALL, *MODELS[model], "--epochs", 1, "--out", "a run").out
    assert "wrote a run/reconstructions.png: held-out images" in out
    assert re.search(r"PSNR \S+ dB on 40 held-out images; the mean image in place of every reconstruction has \S+ dB\.",
                     out)
    assert "of the mean image's squared error;" in out
    commands = [line.strip().split("   ")[0] for line in out.partition("What to try next:\n")[2].splitlines()]
    assert len(commands) >= 3 and any("report" in command for command in commands)
    for command in commands:
        python, option, program, *words = shlex.split(command.split("  ")[0])
        assert (python, option, program) == ("python", "-m", "scratch")
        result = scratch(*words)
        assert result.status == 0, result.err


# --- nothing is replaced silently -------------------------------------------------------------------------------------


def test_a_second_picture_gets_a_number(scratch, trained):
    folder = trained("ae")
    ask = ["arithmetic", folder, "--factor", "shape", "--count", 2, "--steps", 2, "--from", "square"]
    assert "wrote ae/arithmetic.png\n" in scratch(*ask, "--to", "triangle").out
    first = Path(folder, "arithmetic.png").read_bytes()
    assert "wrote ae/arithmetic-2.png\n" in scratch(*ask, "--to", "plus").out
    assert "wrote ae/arithmetic-3.png\n" in scratch(*ask, "--to", "pill").out
    assert Path(folder, "arithmetic.png").read_bytes() == first
    assert "wrote ae/arithmetic-2.png\n" in scratch(*ask, "--to", "plus").out  # the same picture stays where it is


def test_a_named_file_is_replaced_and_that_is_said(scratch, trained):
    folder = trained("ae")
    for ask in (["sample", folder, "--count", 2, "--out", "o.png"], ["encode", folder, "--limit", 8, "--out", "o.npz"],
                ["curves", folder, "--out", "c.png"]):
        assert "in place of" not in scratch(*ask).out
        assert ", in place of the file that was there" in scratch(*ask).out


def test_codes_of_another_split_get_a_number(scratch, trained):
    folder = trained("vqvae")
    assert "wrote vqvae/codes.npz" in scratch("encode", folder, "--limit", 8).out
    assert "wrote vqvae/codes-2.npz" in scratch("encode", folder, "--limit", 8, "--split", "train").out


# --- values by their names --------------------------------------------------------------------------------------------


def test_a_factor_is_named_as_it_is_called(scratch, trained):
    folder = trained("ae")
    ask = ["arithmetic", folder, "--factor", "shape", "--count", 2, "--steps", 2, "--out"]
    assert scratch(*ask, "names.png", "--from", "square", "--to", "plus").status == 0
    assert scratch(*ask, "numbers.png", "--from", 1, "--to", 3).status == 0
    assert Path("names.png").read_bytes() == Path("numbers.png").read_bytes()
    assert_one_sentence(scratch(*ask, "o.png", "--from", "sqare", "--to", "plus"), "--from", "pill, square, triangle")


def test_a_legend_names_the_shapes(scratch, trained, monkeypatch):
    drawn = []
    monkeypatch.setattr(latents, "save_picture", lambda figure, *more: drawn.append(figure))
    assert scratch("aggregate", trained("vae"), "--colour", "shape").status == 0
    legend = drawn[0].axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["pill", "square", "triangle", "plus"]


@pytest.mark.parametrize("command, module", [
    (["probe", "nowhere"], "optimize"), (["anomaly", "nowhere", "--against", "mnist"], "stats"),
    (["downstream", "nowhere"], "optimize"), (["downstream", "nowhere", "--against", "mnist"], "stats")])
def test_scipy_is_asked_for_before_anything_else(scratch, command, module, monkeypatch):
    monkeypatch.setitem(sys.modules, f"scipy.{module}", None)
    assert_one_sentence(scratch(*command), "SciPy", "pip install scipy")


def test_mig_asks_for_scipy_before_it_reads_images(scratch, trained, monkeypatch):
    folder = trained("vae")
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    monkeypatch.setattr(latents, "images_for", None)
    assert_one_sentence(scratch("mig", folder), "SciPy", "pip install scipy")


# --- runs -------------------------------------------------------------------------------------------------------------


def test_runs_lists_what_there_is(scratch, trained):
    Path("runs").mkdir()
    for model in ("ae", "vqvae"):
        Path(trained(model)).rename(f"runs/{model}")
    result = scratch("runs")
    heading, *lines = result.out.splitlines()
    assert result.status == 0 and heading.split()[:4] == ["run", "model", "data", "epochs"] and len(lines) == 2
    assert all(re.match(r"runs/(\w+) +\1 +shapes +2 of 2 +\S+ +\S+ dB +\d{4}-\d\d-\d\d \d\d:\d\d$", line)
               for line in lines)
    found = json.loads(scratch("runs", "--json").out)
    assert {run["model"] for run in found} == {"ae", "vqvae"}
    for run in found:
        last = read_metrics(run["folder"])[-1]
        assert run["held_out_psnr"] == last["held_out_psnr"] and run["epochs"] == last["epoch"] == 2


def test_a_damaged_run_has_a_line_and_does_not_end_the_list(scratch, trained):
    Path("runs/sweep").mkdir(parents=True)
    for model in ("ae", "vae", "dvae"):
        Path(trained(model)).rename(f"runs/sweep/{model}")
    Path("runs/sweep/vae/config.json").write_text("{")
    Path("runs/sweep/dvae/checkpoint.safetensors").unlink()
    Path("runs/loop").symlink_to(".")
    result = scratch("runs")
    assert result.status == 0 and re.search(r"^runs/sweep/ae +ae ", result.out, re.M)
    assert result.out.count("left out: ") == 2
    assert "left out: runs/sweep/vae/config.json is not JSON" in result.out
    assert "left out: runs/sweep/dvae was begun and never saved." in result.out
    assert [bool(run.get("problem")) for run in json.loads(scratch("runs", "runs", "--json").out)].count(True) == 2


def test_no_runs_and_no_folder(scratch):
    assert_one_sentence(scratch("runs"), "runs cannot be read", "No such file")
    Path("runs").mkdir()
    assert "runs holds no runs: train one with python -m scratch train vqvae" in scratch("runs").out


# --- help and the bar -------------------------------------------------------------------------------------------------


def help_of(capsys, parser, *argv):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        parser().parse_args([*argv, "--help"])
    assert ended.value.code == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_shows_the_defaults_of_a_model_in_a_preset(program, capsys):
    def shown(*argv):
        return help_of(capsys, PROGRAMS[program], "train", *argv)

    assert "--codes N K, the number of vectors in the codebook (default: 256)" in shown("vqvae")
    assert "(default: 4096)" in shown("vqvae", "--preset", "article")
    assert "--beta" not in shown("vqvae") and "--beta" in shown("vae") and "--codes" not in shown("vae")
    assert "--latent-dim N numbers in the code of an image (default: 20)" in shown("vae", "--preset", "mlp")
    both = shown()
    assert "--beta" in both and "--codes" in both and "(default: 128; article 1024; mlp 20)" in both
    for wrong in (["vqvea"], ["vae", "--preset", "published"], ["vae", "--preset", "x"]):
        assert shown(*wrong) == both


def test_the_bar_fits_80_columns():
    longest = tqdm.format_meter(
        99999, 99999, 359999, ncols=80, prefix="epoch 9999/9999", bar_format=BAR, postfix="loss -1.234e+10")
    assert len(longest) <= 80 and "99999/99999" in longest and "loss -1.234e+10" in longest
    usual = tqdm.format_meter(40, 157, 3.1, ncols=80, prefix="epoch 1/5", bar_format=BAR, postfix="loss 0.1234")
    assert len(usual) <= 80 and usual.count("█") >= 5


# --- classes print themselves -----------------------------------------------------------------------------------------


def test_a_module_prints_its_class_its_settings_and_its_parts():
    model = build("vqvae", (8, 8, 3), channels=[4, 8], codes=16, seed=0)
    assert repr(model.encoder) == (
        "Sequential(\n  (0): Conv2d(3, 4, kernel_size=(4, 4), stride=(2, 2), padding=(1, 1))\n  (1): ReLU()\n"
        "  (2): Conv2d(4, 8, kernel_size=(4, 4), stride=(2, 2), padding=(1, 1))\n  (3): ReLU()\n)")
    assert repr(model).startswith("Autoencoder(\n  (encoder): Sequential(\n    (0): Conv2d(3, 4, ")
    assert "    (quantizer): VectorQuantizer(codebook: (16, 8))\n" in repr(model)
    assert repr(model.bottleneck.quantizer.codebook) == "Parameter((16, 8), float32)"
    cured = build("vqvae", (8, 8, 3), channels=[4, 8], codes=16, codebook_update="ema")
    assert "VectorQuantizer(codebook: (16, 8)\n      (averages): MovingAverages(counts: (16,)" in repr(cured)


@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose2d", "Linear", "LeakyReLU"])
def test_a_layer_prints_the_numbers_that_torchs_prints(name):
    import torch

    import scratch.layers as ours

    makes = {
        "Conv2d": lambda room: room.Conv2d(3, 5, 4, stride=2, padding=1, dilation=2, bias=False),
        "ConvTranspose2d": lambda room: room.ConvTranspose2d(3, 5, (4, 3), stride=2, padding=1, output_padding=1),
        "Linear": lambda room: room.Linear(3, 5), "LeakyReLU": lambda room: room.LeakyReLU(0.2),
    }
    one, other = (re.findall(r"[\d.]+", repr(makes[name](room))) for room in (ours, torch.nn))
    assert other and set(other) <= set(one)
    assert repr(makes[name](ours)).startswith(f"{name}(")


@pytest.mark.parametrize("model", MODELS)
def test_summary_lists_layers_shapes_and_parameters(model):
    built = build(model, (16, 16, 3), channels=[4, 8], seed=0)
    before = built.state_dict()
    heading, *rows, last = summary(built).splitlines()
    assert heading.split() == ["layer", "kind", "output", "parameters"]
    assert re.match(r"encoder\.0 +Conv2d +\(N, 8, 8, 4\) +196$", rows[0])
    assert any(re.match(r"decoder\.\d +Sigmoid +\(N, 16, 16, 3\)$", row) for row in rows)
    counts = [int(found[1].replace(",", "")) for row in rows if (found := re.search(r" ([\d,]+)$", row))]
    assert last == f"{built.parameter_count():,} parameters of float32" and sum(counts) == built.parameter_count()
    assert all((value == before[name]).all() for name, value in built.state_dict().items()) and built.training
    assert all(part.saved is None for part in built.modules())


def test_summary_takes_a_run_and_refuses_what_is_none():
    with pytest.raises(ValueError, match=r"expected a model that scratch\.build made, or a run, got a str"):
        summary("vqvae")
