"""Every misspelt option, wrong choice, wrong type and value out of range raises on both sides, and names the nearest.

The inputs are made from the declarations: nothing here lists an option by hand, but for the words of the issue.
"""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import scratch as library
from scratch.__main__ import build_parser
from scratch.commands.options import every_option
from scratch.commands.reference import page
from scratch.models.corruption import CORRUPTION
from scratch.models.system import find_system, systems
from scratch.optim import make_optimizer
from scratch.options.errors import InputError
from scratch.options.option import Choice, Flag, Option, Real, Scheduled, Text, Whole, Widths
from scratch.options.presets import PRESETS
from scratch.options.resolve import model_options, resolve, run_options
from scratch.runs.library import ITS_OWN
from scratch.runs.run import Run
from tests.cli.test_errors import assert_one_sentence
from tests.support.command_line import caller
from torch_ref import models as torch_models
from torch_ref import training as torch_training
from torch_ref.networks import NETWORKS

SYSTEMS = tuple(systems())
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def parser():
    """The command line's parser, made once for the many calls here."""
    return build_parser()


@pytest.fixture
def scratch(parser, capsys, tmp_path, monkeypatch):
    """As in tests/support/command_line.py."""
    monkeypatch.chdir(tmp_path)
    return caller(lambda words: parser, capsys)


def misspelt(name):
    """A letter dropped, two letters swapped, another case."""
    middle = len(name) // 2
    dropped = name[:middle] + name[middle + 1 :]
    swapped = name[: middle - 1] + name[middle] + name[middle - 1] + name[middle + 1 :]
    words = (dropped, swapped, name.upper(), name.capitalize())
    return [word for word in dict.fromkeys(words) if word and word != name]


def wrong_values(kind):
    """Values of Python that a kind does not take: of another type, out of range, misspelt."""
    match kind:
        case Whole():
            return ["8", 1.5, True, [8], kind.least - 1, kind.most + 1]
        case Real():
            ends = [*([] if kind.below == math.inf else [kind.below]), *([] if kind.included else [kind.least])]
            return ["1", True, [1.0], math.nan, math.inf, kind.least - 1, *ends]
        case Scheduled():
            return ["1", "linear:1", "liner:0:1:5", "linear:0:1:0", True, [1.0], math.nan, kind.least - 1,
                    *([] if kind.included else [kind.least])]
        case Choice():
            return [3, ["a"], "", *(word for name in kind.names for word in misspelt(name) if word not in kind.names)]
        case Flag():
            return ["on", 1, 0.0]
        case Widths():
            return ["8,8", 8, [], [0], [8.0], [True], ["8"]]
        case Text():
            return [3, "", ["a"]]
    raise AssertionError(f"no wrong values of {kind}: say here what they are")


def wrong_texts(kind):
    """What such a kind does not take on a command line."""
    match kind:
        case Whole():
            return ["x", "1.5", str(kind.least - 1), str(kind.most + 1), "9" * 5000]
        case Real():
            return ["x", "nan", "inf", str(kind.least - 1)]
        case Scheduled():
            return ["x", "nan", "linear:1", "liner:0:1:5", str(kind.least - 1)]
        case Choice():
            return [word for name in kind.names for word in misspelt(name) if word not in kind.names]
        case Flag():
            return ["yes", "1"]
        case Widths():
            return ["x", "8,0", "8x1.5"]
        case Text():
            return []
    raise AssertionError(f"no wrong texts of {kind}: say here what they are")


def refused(function, *parts):
    """The sentence of the InputError that a call raises; it holds the parts."""
    with pytest.raises(InputError) as error:
        function()
    for part in parts:
        assert part in str(error.value), str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- scratch ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", SYSTEMS)
def test_a_misspelt_option_names_the_nearest(model):
    known = run_options(find_system(model))
    of_model = model_options(find_system(model))
    others = set(every_option()) - known.keys()
    for name, option in known.items():
        for word in misspelt(name):
            if word in known or word in others:
                continue
            refused(lambda word=word, option=option: resolve(model, {word: option.default}), repr(word),
                    f"did you mean {name!r}?")
            if name in of_model:
                refused(lambda word=word, option=option: library.build(model, (32, 32, 3), **{word: option.default}),
                        repr(word), "did you mean")


@pytest.mark.parametrize("model", SYSTEMS)
def test_a_wrong_value_names_the_option_and_what_was_given(model):
    images = np.zeros((4, 8, 8, 3), np.uint8)
    for name, option in run_options(find_system(model)).items():
        for value in wrong_values(option.kind):
            sentence = refused(lambda name=name, value=value: resolve(model, {name: value}), name)
            assert "expected" in sentence or "schedule" in sentence, sentence
            if name in model_options(find_system(model)):
                refused(lambda name=name, value=value: library.build(model, (32, 32, 3), **{name: value}), name)
            elif name not in ITS_OWN:
                refused(lambda name=name, value=value: library.train(model, images, **{name: value}), name)


@pytest.mark.parametrize("call, parts", [
    (lambda: library.build("vqvae", (32, 32, 3), norm="Batch"), ["norm", "'Batch'", "did you mean 'batch'?"]),
    (lambda: library.build("vqvae", (32, 32, 3), comitment=9), ["'comitment'", "did you mean 'commitment'?"]),
    (lambda: library.build("vqvae", (32, 32, 3), code_metric="cosin"), ["code_metric", "did you mean 'cosine'?"]),
    (lambda: library.build("vqvae", (32, 32, 3), codebook_update="EMA"), ["codebook_update", "did you mean 'ema'?"]),
    (lambda: library.build("vqvea", (32, 32, 3)), ["'vqvea'", "did you mean 'vqvae'?"]),
    (lambda: library.build("ae", (32, 32, 3), beta=1.0), ["beta is an option of vae; ae has no such option."]),
    (lambda: library.build("ae", (32, 32, 3), lr=1.0), ["lr is an option of training", "give it to train"]),
    (lambda: library.build("ae", (32, 32, 3), preset="smal"), ["preset", "did you mean 'small'?"]),
    (lambda: library.build("ae", (32, 32, 3), corruption="gausian:0.1"), ["corruption", "gausian:0.1"]),
    (lambda: library.build("ae", (32, 32)), ["(H, W, C)", "(32, 32)"]),
    (lambda: resolve("ae", {"optimizer": "adma"}), ["optimizer", "did you mean 'adam'?"]),
    (lambda: make_optimizer({}, {"optimizer": "adma", "lr": 1e-3}), ["optimizer", "did you mean 'adam'?"]),
    (lambda: make_optimizer({}, {"optimizer": "sgd", "lr": 0}), ["lr expected a number > 0"]),
    (lambda: make_optimizer({}, {"optimizer": "sgd", "lr": 1, "momentum": -1}), ["momentum expected a number ≥ 0"]),
])
def test_what_the_issue_names(call, parts):
    refused(call, *parts)


def owners():
    """[(model, Option)]: each declared option once, with a system that has it."""
    return [(declared[0][0], declared[0][1]) for declared in every_option().values()]


def test_the_command_line_refuses_each(scratch):
    for model, option in owners():
        for word in misspelt(option.flag[2:]):
            if word.replace("-", "_") in every_option() or word in ("out", "resume", "download", "help"):
                continue
            assert_one_sentence(scratch("train", model, f"--{word}=1"), f"--{word}", "did you mean '--")
        for text in wrong_texts(option.kind):
            if not isinstance(option.kind, Flag):
                assert_one_sentence(scratch("train", model, f"{option.flag}={text}"), option.flag)
    assert list(Path().iterdir()) == []


def test_sweep_refuses_each(scratch):
    for model, option in owners():
        word = misspelt(option.name)[0]
        if word not in every_option():
            result = scratch("sweep", model, "--out", "s", "--over", f"{word}=1,2")
            assert_one_sentence(result, repr(word), "did you mean")
        for text in wrong_texts(option.kind)[:3]:
            if "," not in text:
                result = scratch("sweep", model, "--out", "s", "--over", f"{option.name}={text}")
                assert_one_sentence(result, option.flag)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("model", SYSTEMS)
def test_a_config_refuses_each(tmp_path, model):
    options = resolve(model, {})
    shape = [16, 16, 3][: find_system(model).axes]
    config = {
        "program": "scratch", "options": options, "parameters": 1, "versions": {},
        "data": {"name": "shapes", "image_shape": shape, "training_images": 9, "held_out_images": 9}}

    def opened(changed):
        (tmp_path / "config.json").write_text(json.dumps({**config, "options": changed}))
        return Run.open(tmp_path)

    assert opened(options).options == options
    for name, option in run_options(find_system(model)).items():
        for word in misspelt(name):
            if word not in every_option():
                refused(lambda name=name, word=word: opened({**options, word: options[name]}), "options", repr(word))
        for value in wrong_values(option.kind):
            refused(lambda name=name, value=value: opened({**options, name: value}), f"options.{name}", "restore it")


def test_presets_name_options_that_exist_and_values_that_they_take():
    for name, preset in PRESETS.items():
        fitting = [find_system(model) for model in SYSTEMS if preset.fits(model)]
        assert fitting and set(preset.of) <= {system.name for system in fitting}
        used = set()
        for system in fitting:
            known = run_options(system)
            for option, value in preset.values(system.name).items():
                if option in known:
                    used.add(option)
                    assert known[option].check(value) == value
            resolve(system.name, {"preset": name})
        assert used == set(preset.entries) | {option for own in preset.of.values() for option in own}


# --- the oracle -------------------------------------------------------------------------------------------------------


def declared_in_torch(model):
    """{name: Option} of all networks."""
    found = {}
    for network in NETWORKS:
        found |= torch_models.declared_options(model, network)
    return found


def plain(value):
    """Defaults as both sides can be compared: a tuple counts as a list."""
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("model", SYSTEMS)
def test_both_sides_declare_the_same_options_with_the_same_defaults(model):
    ours, theirs = model_options(find_system(model)), declared_in_torch(model)
    assert {name: plain(option.default) for name, option in theirs.items()} == {
        name: plain(option.default) for name, option in ours.items()}
    for network in NETWORKS if "network" in ours else ():
        own = {option.name for option in ours["network"].kind.options_of(network)}
        assert own == torch_models.declared_options(model, network).keys() & {
            option.name for name in NETWORKS for option in ours["network"].kind.options_of(name)}
    training = run_options(find_system(model))
    assert {name: option.default for name, option in torch_training.OPTIONS.items()} == {
        name: training[name].default for name in torch_training.OPTIONS}


def torch_options_for(option, model):
    """The options beside which one of a model counts on its own: its network."""
    for name, network in NETWORKS.items():
        if option in network.options and "network" in model_options(find_system(model)):
            return {"network": name}
    return {}


@pytest.mark.parametrize("model", SYSTEMS)
def test_the_oracle_refuses_each(model):
    known = declared_in_torch(model)
    for name, option in model_options(find_system(model)).items():
        beside = torch_options_for(name, model)
        for word in misspelt(name):
            if word in every_option():
                continue
            with pytest.raises(ValueError, match=f"'{word}' is not an option of {model}; the nearest is '") as error:
                torch_models.build(model, (32, 32, 3), {**beside, word: option.default})
            assert any(repr(near) in str(error.value) for near in known)
        beyond = [option.kind.most + 1] if isinstance(option.kind, Whole) else []  # only scratch has these bounds
        for value in wrong_values(option.kind):
            if value in beyond or (isinstance(option.kind, Scheduled) and value == "1"):
                continue
            with pytest.raises(ValueError, match=f"{name} is "):
                torch_models.build(model, (32, 32, 3), {**beside, name: value})


@pytest.mark.parametrize("name", torch_training.OPTIONS)
def test_the_oracles_optimiser_refuses_each(name):
    kind = run_options(find_system("ae"))[name].kind
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    for value in wrong_values(kind):
        if isinstance(kind, Scheduled) and value == "1":
            continue  # a text of a number is a schedule there
        with pytest.raises(ValueError, match=f"{name} is "):
            torch_training.make_optimizer(parameters, {name: value})


@pytest.mark.parametrize("options, nearest", [
    ({"norm": "Batch"}, "'batch'"), ({"comitment": 9}, "'commitment'"), ({"code_metric": "cosin"}, "'cosine'"),
    ({"codebook_update": "EMA"}, "'ema'"), ({"likelihood": "gausian"}, "'gaussian'")])
def test_the_oracle_on_what_the_issue_names(options, nearest):
    with pytest.raises(ValueError, match=f"the nearest is {nearest}"):
        torch_models.build("vqvae", (32, 32, 3), options)


# --- the declarations themselves --------------------------------------------------------------------------------------


def test_every_declaration_is_whole():
    for declared in every_option().values():
        for _, option in declared:
            assert isinstance(option, Option) and option.help and not option.help.endswith(".")
            assert option.kind.words and option.name.isidentifier() and option.name == option.name.lower()
            assert option.check(option.default) == option.default
    assert CORRUPTION.check("masking:0.3") == "masking:0.3"


def test_the_page_of_options_is_what_the_declarations_say():
    assert (ROOT / "docs/reference/options.md").read_text() == page()
    for name in every_option():
        assert f"| `{name}` |" in page()


def test_the_declarations_are_read_without_the_heavy_packages():
    """Neither what draws, nor what reads pictures, nor SciPy, nor the oracle is needed to know the options."""
    program = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"matplotlib", "PIL", "scipy", "skimage", "torch", "torchvision"}:
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
from scratch.models.system import systems
from scratch.options.resolve import resolve, run_options
print(*(len(run_options(system)) for system in systems().values()))
resolve("vae", {"preset": "article"})
"""
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert found.stdout.split() == [str(len(run_options(system))) for system in systems().values()]
