"""`compare --speed` and `growth`: that they measure what they say. No test asserts a time.

The models are those of the small preset on a few images; most of what these tests take is starting processes.
"""

import json

import numpy as np
import pytest
import torch

from scratch.accelerate.cpu.workers import ParallelTrainer
from scratch.commands.cli import main
from scratch.options.errors import InputError
from tests.support.closeness import assert_all_close
from tests.support.models import run_options_of as those_of
from torch_ref.commands import build_parser
from torch_ref.speed import growth, report
from torch_ref.speed import measure as speed
from torch_ref.speed.options import options_of
from torch_ref.speed.process import Machine, Process
from torch_ref.speed.scratch_engine import Floor, ScratchEngine, leaves, make_trainer, record
from torch_ref.speed.side import POOL, Side
from torch_ref.speed.table import measure_table
from torch_ref.speed.torch_engine import TorchEngine

TINY = dict(channels=(4, 8), latent_dim=6, codes=16, code_dim=5, batch_size=2, image_size=8)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """The sides do not wait for each other's threads, because the times do not matter here."""
    monkeypatch.setattr(speed, "PAUSE", 0)
    monkeypatch.setattr(speed, "WARM_UP", 1)
    monkeypatch.setattr(speed, "SECONDS", 0)
    monkeypatch.setattr(speed, "GEMM_SIZE", 32)
    monkeypatch.setattr(speed, "OPERATION_REPETITIONS", 1)


def call(capsys, *argv):
    capsys.readouterr()
    status = main(build_parser(), [str(argument) for argument in argv])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def options(model, **chosen):
    return {**options_of(model, "small", **those_of(model, TINY), **chosen), "workers": 1, "plain": True}


def test_speed_measures_every_side(capsys):
    argv = "compare vae --speed --preset small --batch-size 2 --steps 2 --threads 1 --operations --json".split()
    status, out, err = call(capsys, *argv)
    assert status == 0, err
    result = json.loads(out)
    assert result["dtype"] == "float32" and result["threads"] == 1
    assert list(result["sides"]) == ["scratch", "scratch plain", "torch", "torch best"]
    for name, side in result["sides"].items():
        lower, upper = side["quartiles"]
        assert len(side["milliseconds"]) == 2 and 0 < lower <= side["median"] <= upper
        assert side["share_of_peak"] > 0 and side["memory"]["peak"] >= side["memory"]["imports"] > 0
        assert side["libraries"]["torch_imported"] == name.startswith("torch")
    for ours, theirs in (("scratch", "torch"), ("scratch plain", "torch best")):
        ratio = result["sides"][ours]["median"] / result["sides"][theirs]["median"]
        assert result["ratios"][ours][theirs] == pytest.approx(ratio)

    floor = result["floor"]
    assert floor["total"] > 0 and floor["optimizer"] > 0
    assert floor["layers"].keys() == {layer["name"] for layer in result["products"]}
    assert {"encoder.0", "bottleneck.mu", "bottleneck.expand", "decoder.4"} <= floor["layers"].keys()

    rows = result["operations"]["rows"]
    for name in ("encoder.0", "encoder.1", "bottleneck.logvar", "decoder.5", "reconstruction", "optimizer"):
        assert set(speed.SIDES) <= rows[name].keys()
    assert set(speed.OURS) == rows["bottleneck.kl"].keys()  # a line of a function in PyTorch
    assert list(rows)[-1] == "optimizer"
    explained = result["operations"]["explained"]
    assert explained.keys() == rows.keys()
    assert set(explained["encoder.0"]["share_of_peak"]) == set(speed.SIDES)
    assert not explained["encoder.1"]["share_of_peak"] and set(explained["encoder.1"]["ratios"]) == set(speed.THEIRS)

    report.report(result)  # the same as tables
    out = capsys.readouterr().out
    for part in ("sgemm peak", "floor:", "The environment pins", "encoder.0", "whole step", "–"):
        assert part in out


def test_flops_are_those_of_the_products():
    trainer, _ = make_trainer(options("ae"), (8, 8, 3))
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    products = {layer["name"]: layer for layer in Floor(trainer, images).describe()}
    # 8×8×3 → 4×4×4 → 2×2×8 → 32 numbers → 6 → 32 → 2×2×8 → 4×4×4 → 8×8×3, kernels of 4×4, two images
    expected = {  # the product's M·K·N, and how many of its size a step makes
        "encoder.0": (2 * 16 * (16 * 3) * 4, 2),  # nobody asks for the gradient of the images
        "encoder.2": (2 * 4 * (16 * 4) * 8, 3),
        "bottleneck.reduce": (2 * 32 * 6, 3),
        "bottleneck.expand": (2 * 6 * 32, 3),
        "decoder.0": (2 * 4 * 8 * (16 * 4), 3),
        "decoder.2": (2 * 16 * 4 * (16 * 3), 3),
    }
    assert {name: layer["flops"] for name, layer in products.items()} == {
        name: 2 * size * count for name, (size, count) in expected.items()}


def test_the_search_for_codes_is_one_product():
    trainer, _ = make_trainer(options("vqvae"), (8, 8, 3))
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    floor = Floor(trainer, images)
    layers = {layer["name"]: layer["flops"] for layer in floor.describe()}
    assert layers["bottleneck.quantizer"] == 2 * (2 * 4) * 5 * 16
    assert layers["bottleneck.project"] == 3 * 2 * (2 * 4) * 8 * 5
    times = floor.measure(lambda function: function() or 1.0)  # every product runs
    assert times["products"].keys() == layers.keys()


@pytest.mark.parametrize("model", ["ae", "vae", "vqvae", "dvae"])
def test_recording_changes_nothing(model):
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    recorded, untouched = (make_trainer(options(model), (8, 8, 3))[0] for _ in range(2))
    calls = record(recorded, images)
    assert calls.keys() == dict(leaves(recorded.model)).keys()
    assert all(call.upstream is not None for call in calls.values())
    untouched.model.loss(images, untouched.draw_noise(2, np.random.default_rng(0)))
    untouched.model.backward()
    for name, gradient in untouched.model.grad_dict().items():
        np.testing.assert_array_equal(recorded.model.grad_dict()[name], gradient)
    for _, leaf in leaves(recorded.model):
        assert not {"forward", "backward", "loss"} & vars(leaf).keys()


def test_the_two_torch_sides_differ_in_layout_alone():
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    losses = []
    for best in (False, True):
        trainer, _ = TorchEngine(best, torch.get_num_threads()).make_trainer(options("ae"), images.shape[1:])
        x, weight = trainer.to_tensor(images), trainer.model.encoder[0].weight
        assert x.shape == (2, 3, 8, 8)
        for tensor in (x, weight):
            assert tensor.is_contiguous() != best
            assert tensor.movedim(1, -1).is_contiguous() == best
        losses.append([trainer.step(images, 0, step)[0]["loss"].item() for step in range(3)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.fixture
def on_stand_in(cupy, monkeypatch):
    """The sides of a measurement on a GPU, in this process: scratch's on the stand-in, PyTorch's on the CPU."""
    threads, started = torch.get_num_threads(), []

    def start(stack, names, options, machine):
        started.append(machine)
        return {
            name: InThisProcess(name, {
                **options, **TINY, "batch_size": options["batch_size"], "workers": 1, "plain": name != "scratch",
                "device": "cpu" if name.startswith("torch") else options["device"]}, 1, machine.tf32)
            for name in names}

    monkeypatch.setattr(speed, "start", start)
    yield started
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = False


def test_the_table_of_a_gpu(capsys, on_stand_in, tmp_path):
    argv = "speeds --device gpu --models ae,vqvae --batch-sizes 2,3 --steps 1 --preset small --out"
    status, out, err = call(capsys, *argv.split(), tmp_path / "found/gpu")
    assert status == 0, err
    rows = [line for line in out.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert [row.split(" | ")[:3] for row in rows] == [
        [f"| {model}", size, tf32] for model in ("ae", "vqvae") for tf32 in ("off", "on") for size in "23"]
    assert len({row.count("|") for row in rows}) == 1
    assert [machine.environment["CUPY_TF32"] for machine in on_stand_in] == list("00110011")
    for part in ("- GPU: stand-in", "- CuPy: 14 stand-in", "- the driver's CUDA: 13.2", "- PyTorch: ", "- date: 20",
                 "- command: python -m torch_ref", "- machine: "):
        assert part in out
    assert (tmp_path / "found/gpu.md").read_text(encoding="utf-8").strip() == out.strip()
    found = json.loads((tmp_path / "found/gpu.json").read_text(encoding="utf-8"))
    assert len(found["rows"]) == len(rows)
    assert all(row["measured"]["floor"]["total"] > 0 and row["measured"]["device"] == "gpu" for row in found["rows"])


def test_every_operation_on_a_gpu(capsys, on_stand_in):
    chosen = options_of("dvae", "small", **those_of("dvae", TINY), device="gpu")
    result = speed.measure(chosen, Machine(threads=1), steps=1, operations=True)
    assert {"encoder.1", "bottleneck.gumbel_softmax", "optimizer"} <= result["operations"]["rows"].keys()
    result["sides"]["torch"]["libraries"]["cudnn"] = 0  # which PyTorch has on a GPU alone
    report.report(result)
    assert "stand-in, TF32 off, between CUDA events" in capsys.readouterr().out


def test_the_table_says_which_row_could_not_be_measured(capsys, on_stand_in, monkeypatch):
    measure, sizes = speed.measure, []

    def measure_once(options, *arguments, **more):
        sizes.append(options["batch_size"])
        if options["batch_size"] == 3:
            raise InputError("too much for gpu")
        return measure(options, *arguments, **more)

    monkeypatch.setattr(speed, "measure", measure_once)
    argv = "speeds --models ae --steps 1 --preset small --batch-sizes"
    status, out, err = call(capsys, *argv.split(), "2,3")
    assert status == 0 and "| ae | 3 | off | too much for gpu |" in out, err
    status, out, err = call(capsys, *argv.split(), "3,2")
    assert status == 2 and err == "error: too much for gpu\n" and sizes == [2, 3, 3]


def test_the_functions_measure_without_a_command_line(capsys, on_stand_in):
    """They take values, return numbers and print nothing."""
    rows = list(measure_table(["vae"], Machine(threads=1), batch_sizes=(2,), preset="small", steps=1, device="gpu"))
    assert [(row["model"], row["batch_size"], row["tf32"]) for row in rows] == [("vae", 2, False), ("vae", 2, True)]
    assert all(row["measured"]["sides"]["scratch"]["median"] > 0 for row in rows)
    table = growth.measure_growth("codes", "small", Machine(threads=1), steps=1, quick=True)
    assert [row["codes"] for row in table["rows"]] == list(growth.SWEEPS["codes"].values[: growth.QUICK_ROWS])
    assert all(row["ratio"] > 0 for row in table["rows"])
    assert capsys.readouterr() == ("", "")


def test_growth_prints_markdown(capsys, monkeypatch):
    monkeypatch.setattr(growth, "QUICK_ROWS", 1)
    status, out, err = call(capsys, *"growth --quick --only batch --steps 1 --threads 1".split())
    assert status == 0, err
    heading, rule, row = (line for line in out.splitlines() if line.startswith("|"))
    assert heading.count("|") == rule.count("|") == row.count("|") and set(rule) <= set("|-: ")
    assert row.startswith(f"| {growth.SWEEPS['batch'].values[0]} |")
    assert heading.count("µs/image") == len(growth.SIDES)


class InThisProcess(Side):
    """A side that gives the same answers as a process of its own."""

    def ask(self, command, **arguments):
        return getattr(self, command)(**arguments)


@pytest.fixture
def sides(monkeypatch):
    """The sides of `growth` in this process, on a tiny VQ-VAE."""
    threads = torch.get_num_threads()
    sides = {name: InThisProcess(name, options("vqvae"), 1) for name in growth.SIDES}
    monkeypatch.setattr(speed, "start", lambda *arguments: sides)
    yield sides
    torch.set_num_threads(threads)


@pytest.fixture
def in_this_process(monkeypatch):
    """All sides of a measurement in this process."""
    threads = torch.get_num_threads()

    def start(stack, names, options, machine):
        return {name: InThisProcess(name, {**options, "workers": 1, "plain": name != "scratch"}, 1) for name in names}

    monkeypatch.setattr(speed, "start", start)
    yield
    torch.set_num_threads(threads)


PRIOR = "--grids 2x3,3x3 --codes 5 --labels 2 --width 8 --heads 2 --blocks 1".split()


def test_a_prior_is_timed_on_made_up_codes(capsys, in_this_process):
    argv = ["compare", "prior", "--speed", *PRIOR, *"--batch-size 2 --steps 1 --threads 1 --operations".split()]
    status, out, err = call(capsys, *argv, "--json")
    assert status == 0, err
    result = json.loads(out)
    assert result["image_shape"] == [1 + 6 + 9] and result["batch_size"] == 2
    rows = result["operations"]["rows"]
    for name in ("start", "levels.0.embedding", "levels.1.head", "blocks.0.self_attn", "blocks.0.norm2", "optimizer"):
        assert set(speed.SIDES) <= rows[name].keys(), name
    assert {"blocks.0.dropout1", "blocks.0.gelu", "levels.0.cross_entropy"} <= rows.keys()
    assert not any(name.endswith("out_proj") for name in rows)  # a part of attention
    N, T, E = 2, 15, 8
    flops = {layer["name"]: layer["flops"] for layer in result["products"]}
    assert flops == {
        "levels.0.head": 3 * 2 * (N * 6) * E * 5, "levels.1.head": 3 * 2 * (N * 9) * E * 5,
        "blocks.0.self_attn": 3 * 2 * (N * T * 4 * E * E + 2 * N * T * T * E),
        "blocks.0.linear1": 3 * 2 * (N * T) * E * 4 * E, "blocks.0.linear2": 3 * 2 * (N * T) * E * 4 * E}
    assert set(flops) == {name for name, row in rows.items() if speed.FLOOR in row} - {"optimizer"}
    status, out, err = call(capsys, *argv)
    assert status == 0 and "2 examples of 16 in float32" in out, err


def test_the_sizes_of_a_prior_are_needed(capsys, in_this_process):
    status, out, err = call(capsys, *"compare prior --speed --codes 5 --grids 2x3".split())
    assert status == 2 and "labels is missing" in err and err.count("\n") == 1


def test_pytorch_s_best_attention_is_its_own(in_this_process):
    """The same gradients, with a causal mask and without one; the floats differ by rounding."""
    rng = np.random.default_rng(0)
    for model, given, examples in (
            ("prior", dict(grids="2x3", codes=5, labels=1, width=8, heads=2), rng.integers(0, 1, (2, 7))),
            ("ae", dict(network="transformer"), rng.random((2, 8, 8, 3)))):
        gradients = []
        for best in (False, True):
            engine = TorchEngine(best, 1)
            chosen = options_of(model, "small", dtype="float64", **given)
            trainer, _ = engine.make_trainer(chosen, examples.shape[1:])
            noise = trainer.draw_noise(2, np.random.default_rng(0))
            trainer.model.loss(trainer.to_tensor(examples), trainer.to_tensor(noise))[0].backward()
            gradients.append({name: part.grad.numpy() for name, part in trainer.model.named_parameters()})
        assert_all_close(*gradients, 1e-12)


def test_writing_with_and_without_keys_and_values_that_are_kept(in_this_process, monkeypatch):
    """Both write the same codes, and their products are as many as the table says."""
    engine = ScratchEngine(1)
    chosen = options_of("prior", "small", grids="2x3,3x3", codes=5, labels=0, width=8, heads=2, blocks=2)
    model = engine.make_trainer({**chosen, "plain": True}, (16,))[0].model
    writers = engine.writers(model)
    np.testing.assert_array_equal(writers["kept"](), writers["not kept"]())
    counted = []

    class Counting(np.ndarray):
        """Parameters that count the multiply–adds of every product that they, or what follows from them, enter."""

        def __array_ufunc__(self, ufunc, method, *inputs, out=None, **more):
            bare = [part.view(np.ndarray) if isinstance(part, Counting) else part for part in inputs]
            if out is not None:
                more["out"] = tuple(part.view(np.ndarray) if isinstance(part, Counting) else part for part in out)
            result = getattr(ufunc, method)(*bare, **more)
            if ufunc is np.matmul:
                counted.append(result.size * bare[0].shape[-1])
            return result.view(Counting) if isinstance(result, np.ndarray) else result

    # NumPy's own drops the class.
    monkeypatch.setattr(np, "ascontiguousarray", lambda a: np.array(a, order="C", subok=True))
    for part in model.named_parameters().values():
        part.value = part.value.view(Counting)
    for name, write in writers.items():
        counted.clear()
        write()
        expected = growth.products_of_writing(15, name == "kept", width=8, blocks=2, codes=5)
        assert sum(counted) == expected, name


def test_the_table_of_writing(in_this_process, monkeypatch):
    monkeypatch.setattr(growth, "WRITTEN", ("1x2", "2x2"))
    table = growth.measure_growth("writing", "small", Machine(threads=1), steps=1)
    lines = report.growth_as_markdown("writing", table).splitlines()
    assert len(lines) == 4 and len({line.count("|") for line in lines}) == 1
    assert [row["codes"] for row in table["rows"]] == [2, 4]
    json.dumps(table)


@pytest.mark.parametrize("name, count", [("images", growth.QUICK_ROWS), ("search", len(growth.SIDES) + 1)])
def test_the_tables_of_loading_and_searching(sides, name, count):
    table = growth.measure_growth(name, "small", Machine(threads=1), steps=1, quick=True)
    lines = report.growth_as_markdown(name, table).splitlines()
    assert len(lines) == 2 + count and len({line.count("|") for line in lines}) == 1
    json.dumps(table)
    if name == "images":
        assert all(0 < row["shuffle"] and 0 < row["gather"] and row["share"]["scratch"] > 0 for row in table["rows"])


def test_both_sides_take_the_same_batches(sides):
    for side in sides.values():
        side.build()
    ours, theirs = ([side.place(number) for number in range(2 * POOL)] for side in sides.values())
    assert [place[:2] for place in ours] == [(epoch, step) for epoch in range(2) for step in range(POOL)]
    for (*_, our_images), (*_, their_images) in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(our_images, their_images)
    assert our_images.dtype == np.float32 and our_images.shape == (2, 8, 8, 3)


def test_operations_of_several_workers_are_those_of_one_share(sides):
    side = sides["scratch"]
    side.build()
    whole = side.operations(repetitions=1)
    side.trainer = ParallelTrainer(side.trainer.model, side.trainer.optimizer, 0, workers=2)
    share = side.operations(repetitions=1)
    assert (whole["images"], whole["workers"], share["images"], share["workers"]) == (2, 1, 1, 2)
    assert whole["rows"].keys() == share["rows"].keys()


@pytest.mark.parametrize("argv, part", [
    ("compare ae --operations", "add --speed"),
    ("compare ae --threads 2", "add --speed"),
    ("compare ae --unpinned", "add --speed"),
    ("compare ae --speed --lr 0.1", "--lr"),
    ("compare ae --speed --threads 0", "--threads"),
    ("growth --only time", "'time'"),
    ("speeds --models ae,gan", "'gan'"),
    ("speeds --batch-sizes 2,0", "--batch-sizes"),
])
def test_bad_input_is_one_sentence(capsys, argv, part):
    status, out, err = call(capsys, *argv.split())
    assert status == 2 and part in err and err.count("\n") == 1 and not out


def test_a_process_that_cannot_go_on_says_so_in_one_sentence():
    with Process("scratch", options("ae", data="nothing"), Machine(threads=1)) as process:
        process.receive()
        with pytest.raises(InputError, match="'nothing'"):
            process.ask("build")
        process.process.kill()
        with pytest.raises(InputError, match="'scratch' ended"):
            process.ask("libraries")


def test_the_environment_of_the_sides(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    pinned, unpinned = Machine(), Machine(unpinned=True)
    assert pinned.pins["OPENBLAS_CORETYPE"] == pinned.environment["OPENBLAS_CORETYPE"] == "Haswell"
    assert not unpinned.pins and "OPENBLAS_CORETYPE" not in unpinned.environment
    assert not {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"} & pinned.environment.keys()
