"""The memory and the kernels of a training step, counted instead of timed, against stored figures.

A change that makes a step allocate, copy or launch more than before fails here, on any machine and within a second.
If the change is intended, or a step has become cheaper, store the new figures:

    python -m tests.gpu_emulated.test_allocations --update
"""

import json
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from scratch.accelerate import accelerate, accelerate_on_gpu, accelerate_optimizer
from scratch.accelerate.cpu import blockwise_optim
from scratch.bottlenecks.vector_quantizer import nearest_codes
from scratch.layers import ReLU
from scratch.optim import make_optimizer
from scratch.training.trainer import Trainer
from tests.gpu_emulated.stand_in import counting, installed
from tests.support.cures import CURES
from tests.support.models import build, run_options
from tests.support.rates import RATES

STORED = Path(__file__).with_name("allocations.json")
UPDATE = "python -m tests.gpu_emulated.test_allocations --update"
FIGURES = {"bytes_allocated": 0.01, "allocations": 0, "copies": 0, "launches": 0}  # and by what part each may differ

MODELS = {  # name: (model, preset, options beside the preset's)
    "ae": ("ae", "small", {}), "vae": ("vae", "small", {}),
    "vae, free bits": ("vae", "small", RATES["free bits"]), "vae, capacity": ("vae", "small", RATES["capacity"]),
    "vae, gaussian": ("vae", "small", {"likelihood": "gaussian"}), "vqvae": ("vqvae", "small", {}),
    "vqvae, cured": ("vqvae", "small", CURES["all"]), "published vqvae": ("vqvae", "published", {}),
    "vqvae2": ("vqvae2", "small", {}), "dvae": ("dvae", "small", {}),
    "vae, mlp": ("vae", "mlp", {}), "ae, pooling": ("ae", "small", {"network": "pooling"}),
    "ae, group norm": ("ae", "small", {"norm": "group"}), "ae, batch norm": ("ae", "small", {"norm": "batch"}),
    "sparse ae": ("ae", "small", {"sparsity": 0.1}), "linear ae": ("ae", "small", {"network": "linear"}),
    "denoising ae": ("ae", "small", {"corruption": "salt_and_pepper:0.1"}),
}


def blockwise(optimizer):
    """The optimiser in its form for a CPU, whose operations are counted here."""
    optimizer.__class__ = blockwise_optim.FORMS[type(optimizer)]
    return optimizer


VARIANTS = {  # what is done to a new model and its optimiser before they train
    "plain": (lambda model: model, lambda optimizer: optimizer),
    "accelerated": (accelerate, blockwise),
    "on a gpu": (accelerate_on_gpu, accelerate_optimizer),
}


def count_step(row, variant):
    """The figures of one training step in float32; not of the first, which may set something up."""
    model, preset, changes = MODELS[row]
    options = run_options(model, preset=preset, **changes)
    images = np.random.default_rng(0).random((options["batch_size"], 32, 32, 3), np.float32)
    with installed():
        network = build(model, images.shape[1:], options, rng=np.random.default_rng(0))
        accelerate_model, accelerate_adam = VARIANTS[variant]
        network = accelerate_model(network).to("gpu")
        adam = make_optimizer(network.named_parameters(), dict(optimizer="adam", lr=options["lr"], weight_decay=0.0))
        adam = accelerate_adam(adam)
        trainer = Trainer(network, adam, seed=0, device="gpu")
        trainer.step(images, epoch=1, step=0)
        with counting() as during:
            trainer.step(images, epoch=1, step=1)
    return {figure: getattr(during, figure) for figure in FIGURES}


def changes(now, stored):
    """A line for each figure that differs from the stored one by more than it may."""
    return [
        f"{figure} was {stored[figure]:,} and is {now[figure]:,}"
        for figure, tolerance in FIGURES.items()
        if abs(now[figure] - stored[figure]) > tolerance * stored[figure]
    ]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("model", MODELS)
def test_a_step_allocates_copies_and_launches_what_it_did(model, variant):
    stored = json.loads(STORED.read_text())[variant][model]
    if found := changes(count_step(model, variant), stored):
        pytest.fail(f"A training step of the {model} ({variant}) has changed: {'; '.join(found)}. If that is meant, "
                    f"write it down with: {UPDATE}", pytrace=False)


def test_a_change_is_named_with_its_old_and_its_new_figure():
    stored = dict(bytes_allocated=1_000_000, allocations=20, copies=3, launches=50)
    assert changes({**stored, "bytes_allocated": 1_009_000}, stored) == []
    assert changes({**stored, "bytes_allocated": 1_020_000, "copies": 2}, stored) == [
        "bytes_allocated was 1,000,000 and is 1,020,000", "copies was 3 and is 2"]


def test_an_added_copy_is_found(monkeypatch):
    """The check finds an error: here each activation copies its input once more."""
    forward = ReLU.forward
    monkeypatch.setattr(ReLU, "forward", lambda self, x: forward(self, x.copy()))
    stored = json.loads(STORED.read_text())["plain"]["ae"]
    found = changes(count_step("ae", "plain"), stored)
    assert [line.split()[0] for line in found] == ["bytes_allocated", "allocations", "copies", "launches"]


# --- the search for the nearest code ----------------------------------------------------------------------------------


def test_the_search_needs_little_memory_however_many_vectors_there_are():
    """At most 64 MB beyond inputs and outputs, for 65,536 vectors of 512 dimensions against 8,192 codes.

    That search takes half a teraflop, too long for a test, so two smaller ones take its place. The search holds one
    block of distances at a time, and all blocks have the same size. So four times as many vectors need no more memory.
    (All distances at once would be 2 GB.)
    """
    rng = np.random.default_rng(0)
    codebook, z = rng.random((8192, 512), np.float32), rng.random((16384, 512), np.float32)
    beyond = {}
    for count in (4096, 16384):
        tracemalloc.start()
        indices = nearest_codes(z[:count], codebook)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        beyond[count] = peak - indices.nbytes
    assert beyond[16384] <= 64e6
    assert beyond[16384] - beyond[4096] <= 1e5  # Python's own objects


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit(f"usage: {UPDATE}")
    figures = {variant: {model: count_step(model, variant) for model in MODELS} for variant in VARIANTS}
    STORED.write_text(json.dumps(figures, indent=2) + "\n")
    print(STORED.read_text(), end="")
