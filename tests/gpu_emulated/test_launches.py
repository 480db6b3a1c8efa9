"""The number of kernels that each part of a training step starts on a GPU. This prints the table of docs/gpu.md:

    python -m tests.gpu_emulated.test_launches

The tests also check the forms that `train` uses there, and that only the batch is moved to the GPU.
"""

from pathlib import Path

import numpy as np
import pytest

from scratch.accelerate.gpu.kernels import KernelWindow
from scratch.options.resolve import resolve
from scratch.training.make import make_trainer
from scratch.training.progress import Totals
from tests.gpu_emulated.stand_in import counting, installed
from tests.support.models import run_options_of
from tests.support.tiny import images

PAGE = Path(__file__).parents[2] / "docs" / "gpu.md"
MODELS = ("ae", "vae", "vqvae", "vqvae2", "dvae")
OPTIMIZERS = {"Adam": dict(optimizer="adam"), "SGD": dict(optimizer="sgd")}
PARTS = ("noise", "forward", "backward", "optimiser", "codes")  # the last: counting them, their perplexity
BEFORE = {  # in the small preset, before anything was done about it, counted as now
    ("ae", "Adam"): (0, 97, 89, 192, 0), ("ae", "SGD"): (0, 97, 89, 64, 0),
    ("vae", "Adam"): (3, 113, 101, 216, 0), ("vae", "SGD"): (3, 113, 101, 72, 0),
    ("vqvae", "Adam"): (0, 111, 100, 204, 13), ("vqvae", "SGD"): (0, 111, 100, 68, 13),
    ("vqvae2", "Adam"): (0, 151, 123, 264, 26), ("vqvae2", "SGD"): (0, 151, 123, 88, 26),
    ("dvae", "Adam"): (8, 120, 103, 204, 13), ("dvae", "SGD"): (8, 120, 103, 68, 13),
}


def new_trainer(model, size=32, **changes):
    """The trainer of `train MODEL --device gpu`."""
    options = resolve(model, run_options_of(model, {"device": "gpu", **changes}))
    return make_trainer(options, (size, size, 3))[0]


def launches(model, optimizer, **changes):
    """Launches of one step's PARTS, not of the first step, which may set something up."""
    found = dict.fromkeys(PARTS, 0)

    def counted(function, part):
        def call(*args):
            with counting() as during:
                result = function(*args)
            found[part] += during.launches
            return result

        return call

    trainer = new_trainer(model, **OPTIMIZERS[optimizer], **changes)
    x = np.random.default_rng(0).random((64, 32, 32, 3), np.float32)
    trainer.step(x, 1, 0)
    for owner, name, part in ((trainer, "noise_of_step", "noise"), (trainer.model, "loss", "forward"),
                              (trainer.model, "backward", "backward"), (trainer.optimizer, "step", "optimiser")):
        setattr(owner, name, counted(getattr(owner, name), part))
    with counting() as whole:
        trainer.step(x, 1, 1)
    found["codes"] = whole.launches - sum(found.values())
    return tuple(found.values())


def table():
    lines = ["| model, optimiser | " + " | ".join(PARTS) + " | a step | with `--plain` |",
             "|---|" + "---:|" * (len(PARTS) + 2)]
    for (model, optimizer), before in BEFORE.items():
        now, plain = launches(model, optimizer), launches(model, optimizer, plain=True)
        parts = [f"{a} → {b}" if a or b else "" for a, b in zip((*before, sum(before)), (*now, sum(now)), strict=True)]
        lines.append(f"| {model}, {optimizer} | " + " | ".join(parts) + f" | {sum(plain)} |")
    return "\n".join(lines)


def test_the_page_has_the_launches_of_a_step(cupy):
    found = table()
    assert found in PAGE.read_text(encoding="utf-8"), f"python -m tests.gpu_emulated.test_launches prints\n{found}"


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_the_command_trains_with_the_forms_for_a_gpu_and_plain_without(cupy, model):
    for plain in (False, True):
        trainer = new_trainer(model, plain=plain)
        kinds = {type(part).__name__ for part in trainer.model.modules()} | {type(trainer.optimizer).__name__}
        windows = {type(part.window) for part in trainer.model.modules() if hasattr(part, "window")}
        assert ({"FusedReLU", "FusedSquaredError", "FusedAdam"} <= kinds) != plain
        assert (windows == {KernelWindow}) != plain


@pytest.mark.parametrize("corruption", [None, "gaussian:0.3", "masking:0.3", "salt_and_pepper:0.2"])
@pytest.mark.parametrize("model", MODELS)
def test_an_epoch_of_the_command_moves_its_batches_and_waits_for_its_metrics_alone(cupy, model, corruption):
    """All noise is drawn on the device, also the corruption's."""
    trainer, x = new_trainer(model, size=16, corruption=corruption, codebook_init="normal"), images(8)
    totals = Totals()
    with counting() as during:
        for step in range(3):
            totals.add("", len(x), *trainer.step(x, 1, step))
    assert (during.transfers_to_device, during.bytes_to_device) == (3, 3 * x.nbytes)
    assert during.waits == during.transfers_to_host == 0
    with counting() as during:
        totals.read(trainer)
    assert during.transfers_to_host <= 1 + 3 * 2  # all scalars in one piece; each step's and level's counts of codes


if __name__ == "__main__":
    with installed():
        print(table())
