"""The cures for unused codes: every one, and all at once, side by side with torch_ref's."""

import numpy as np
import pytest
import torch

from data_utils import load
from scratch.bottlenecks import SoftAssignmentEntropy
from scratch.bottlenecks.codebook.kmeans import lloyd
from scratch.optim import make_optimizer as make_scratch_optimizer
from scratch.training.trainer import Trainer as ScratchTrainer
from tests.support.beside_torch import (
    TINY,
    assert_all_close,
    assert_close,
    compared,
    to_numpy,
    to_torch,
    torch_gradients,
    torch_twin,
)
from tests.support.cures import CURES, MOVING
from tests.support.models import build
from torch_ref.bottlenecks.codebook.kmeans import kmeans
from torch_ref.bottlenecks.codebook.soft_assignment import entropy_gap
from torch_ref.training import Trainer, make_optimizer

SHAPE = (16, 16, 3)
ADAM = {"optimizer": "adam", "lr": 1e-3, "momentum": 0.9, "weight_decay": 0.0}
each_cure = pytest.mark.parametrize("cure", CURES)
each_moving = pytest.mark.parametrize("cure", MOVING)


def trainers(changes, dtype=np.float64, model="vqvae"):
    """Scratch's trainer and torch's, of the same VQ-VAE, or another model, with the same weights.

    The last bias before the latents is raised. If a ReLU removed all features, latents would be equal, and so would
    codes that restart from them. Rounding would then choose between equal codes.
    """
    options = {**TINY, "likelihood": "squared_error", **ADAM, **changes}
    ours = build(model, SHAPE, options, dtype=dtype, rng=np.random.default_rng(0))
    ours.encoder.layers[-2].bias.value += 0.5
    theirs = torch_twin(ours, model, SHAPE, options)
    return (ScratchTrainer(ours, make_scratch_optimizer(ours.named_parameters(), options), 4),
            Trainer(theirs, make_optimizer(theirs.parameters(), options), 4))


def some_images(count=16, dtype=np.float64, seed=1):
    return np.random.default_rng(seed).uniform(size=(count, *SHAPE)).astype(dtype)


def prepared(changes, dtype=np.float64):
    both = trainers(changes, dtype)
    if both[0].model.bottleneck.prepared_from:
        for side in both:
            side.prepare([some_images(8, dtype, seed) for seed in range(3)])
    return both


@pytest.mark.parametrize("dtype, bound", [(np.float64, 1e-12), (np.float32, 1e-4)])
@each_cure
def test_outputs_terms_and_gradients(cure, dtype, bound):
    ours, theirs = (side.model for side in trainers(CURES[cure], dtype))
    x = some_images(6, dtype)
    assert ours.weights == theirs.weights
    output, _ = ours.forward(x)
    output_torch, _ = theirs(to_torch(x))
    assert_close(output, to_numpy(output_torch), bound, "output")
    loss, terms = ours.loss(x)
    ours.backward()
    loss_torch, terms_torch = theirs.loss(to_torch(x))
    loss_torch.backward()
    assert_close(loss, loss_torch.detach(), bound, "loss")
    assert_all_close(terms, {name: term.detach() for name, term in terms_torch.items()}, bound)
    assert_all_close(ours.grad_dict(), torch_gradients(theirs), bound)
    np.testing.assert_array_equal(ours.bottleneck.indices, theirs.bottleneck.indices)
    assert ("codebook" in terms) == ("codebook_update" not in CURES[cure])


@each_cure
def test_fifty_steps(cure):
    """The whole state agrees: weights, codes, averages, idle steps. The same codes restart, from the same latents."""
    ours, theirs = prepared(CURES[cure])
    assert_all_close(ours.state()[0], theirs.state()[0], 1e-12)
    batches = [some_images(seed=seed) for seed in range(3)]
    restarted = 0
    for step in range(50):
        x = batches[step % 3]
        (terms, counts), (terms_torch, counts_torch) = (side.step(x, 1, step) for side in (ours, theirs))
        np.testing.assert_allclose(ours.read(list(terms.values())), theirs.read(list(terms_torch.values())), rtol=1e-9)
        np.testing.assert_array_equal(counts[""], counts_torch[""])
        if step in (0, 1, 49):
            bound = 1e-6 if step == 49 else 1e-9
            assert_all_close(ours.state()[0], theirs.state()[0], bound)
        if "restart_after" in CURES[cure]:
            restarted += int(((ours.model.bottleneck.quantizer.dead_codes.idle.value == 0) & (counts[""] == 0)).sum())
    assert restarted >= 3 or "restart_after" not in CURES[cure]


@each_cure
def test_compare(cure):
    images = load("shapes", limit=80, image_size=16).train
    options = {**TINY, "likelihood": "squared_error", **CURES[cure]}
    result = compared("vqvae", options, images, steps=50, dtype="float64", batch_size=16, lr=3e-4)
    assert result["ok"], result["checks"]


@each_cure
def test_each_side_continues_from_the_other_s_state(cure):
    ours, theirs = prepared(CURES[cure])
    x = some_images()
    for step in range(3):
        ours.step(x, 1, step)
    other, other_torch = trainers(CURES[cure])
    other_torch.load(*ours.state())
    other.load(*other_torch.state())
    for step in range(3, 6):
        ours.step(x, 1, step)
        other.step(x, 1, step)
        other_torch.step(x, 1, step)
    assert list(ours.state()[0]) == list(other_torch.state()[0])
    assert_all_close(other_torch.state()[0], ours.state()[0], 1e-9)
    for name, value in ours.state()[0].items():
        np.testing.assert_array_equal(other.state()[0][name], value)


@each_cure
def test_what_a_trained_model_is_asked_for(cure):
    ours, theirs = prepared(CURES[cure])
    x = some_images()
    for step in range(3):
        ours.step(x, 1, step)
    theirs.load(*ours.state())
    a, b = ours.model, theirs.model
    np.testing.assert_array_equal(a.encode(x), b.encode(to_torch(x)))
    assert_close(a.reconstruct(x), to_numpy(b.reconstruct(to_torch(x))), 1e-12, "reconstructed")
    pairs = b.interpolate(to_torch(x[:3]), to_torch(x[3:6]), 4).numpy().transpose(0, 1, 3, 4, 2)
    assert_close(a.interpolate(x[:3], x[3:6], 4), pairs, 1e-12, "interpolation")
    before = ours.state()[0]
    (terms, counts, [errors]), (terms_torch, counts_torch, [errors_torch]) = (
        side.evaluate(x, None) for side in (ours, theirs))
    assert_close(errors, errors_torch.numpy(), 1e-12, "errors")
    np.testing.assert_allclose(ours.read(list(terms.values())), theirs.read(list(terms_torch.values())), rtol=1e-9)
    assert all(np.array_equal(array, before[name]) for name, array in ours.state()[0].items()), "evaluation moved it"


@pytest.mark.parametrize("cure", ["entropy", "all"])
@pytest.mark.parametrize("model", ["vqvae", "vqvae2"])
def test_groups_of_cured_codes(model, cure):
    """Twenty steps of the trainers: the whole state agrees, the averages and idle steps of each group among it."""
    ours, theirs = trainers({**CURES[cure], "code_groups": 2}, model=model)
    if ours.model.bottleneck.prepared_from:
        for side in (ours, theirs):
            side.prepare([some_images(8, seed=seed) for seed in range(3)])
    x = some_images()
    for step in range(20):
        (terms, counts), (terms_torch, counts_torch) = (side.step(x, 1, step) for side in (ours, theirs))
        np.testing.assert_allclose(ours.read(list(terms.values())), theirs.read(list(terms_torch.values())), rtol=1e-9)
        assert list(counts) == list(counts_torch) and len(counts) == (4 if model == "vqvae2" else 2)
        for name, used in counts.items():
            np.testing.assert_array_equal(used, counts_torch[name])
    assert list(ours.state()[0]) == list(theirs.state()[0])
    assert_all_close(ours.state()[0], theirs.state()[0], 1e-7)


def test_kmeans():
    rng = np.random.default_rng(0)
    vectors, centres = rng.standard_normal((200, 4)), rng.standard_normal((20, 4))
    centres[3] = 100  # never the nearest
    found, counts = lloyd(vectors, centres, 7)
    found_torch, counts_torch = kmeans(torch.tensor(vectors), torch.tensor(centres), 7)
    assert_close(found, found_torch.numpy(), 1e-12, "centres")
    np.testing.assert_array_equal(counts, counts_torch)
    np.testing.assert_array_equal(found[3], centres[3])
    assert counts[3] == 0 and counts.sum() == 200


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
def test_the_entropy_term(temperature):
    rng = np.random.default_rng(0)
    z, e = rng.standard_normal((30, 4)), rng.standard_normal((9, 4))
    z_torch, e_torch = torch.tensor(z, requires_grad=True), torch.tensor(e, requires_grad=True)
    gap_torch = entropy_gap(z_torch, e_torch, temperature)
    (2.5 * gap_torch).backward()
    module = SoftAssignmentEntropy(temperature)
    assert_close(module.forward(z, e), gap_torch.detach().numpy(), 1e-12, "gap")
    dz, de = module.backward(2.5)
    assert_close(dz, z_torch.grad.numpy(), 1e-12, "∂gap/∂z")
    assert_close(de, e_torch.grad.numpy(), 1e-12, "∂gap/∂e")


def hard_counts(z, e):
    """Frequencies from the argmin, as an autograd graph: the one-hot rows are constants of z and e."""
    k = torch.cdist(z, e).argmin(1)
    return torch.nn.functional.one_hot(k, len(e)).to(z).mean(0) + 0 * z.sum() + 0 * e.sum()


def test_the_entropy_of_hard_counts_has_no_gradient_and_is_no_number_once_a_code_is_unused():
    """Shown by autograd: −Σ p log p of the counts, as articles write it."""
    torch.manual_seed(0)
    z, e = torch.randn(400, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    z.requires_grad_(), e.requires_grad_()
    p = hard_counts(z, e)
    assert (p > 0).all()
    entropy = -(p * p.log()).sum()
    entropy.backward()
    assert entropy > 1 and not z.grad.any() and not e.grad.any()

    with torch.no_grad():
        e[2] = 1e3
    p = hard_counts(z, e)
    assert p[2] == 0 and torch.isnan(-(p * p.log()).sum())

    module = SoftAssignmentEntropy(1.0)  # at the same place: a number, and a gradient
    assert np.isfinite(module.forward(z.detach().numpy(), e.detach().numpy()))
    dz, de = module.backward()
    assert np.isfinite(dz).all() and np.isfinite(de).all()
    assert np.abs(dz).max() > 1e-5 and np.abs(de).max() > 1e-5 and not de[2].any()


def test_the_line_as_printed():
    """No loss but the reconstruction, nothing for the encoder, and the decoder's gradient for codes."""
    ours, theirs = (side.model for side in trainers({"straight_through": "reversed"}))
    x = some_images(6)
    output, _ = ours.forward(x)
    z = ours.bottleneck.project.forward(ours.encoder.forward(x))
    unquantized = ours.decoder.forward(ours.bottleneck.expand.forward(z))
    assert_close(output, unquantized, 1e-12, "what the decoder makes of the encoder's own output")

    loss, terms = ours.loss(x)
    ours.backward()
    loss_torch, terms_torch = theirs.loss(to_torch(x))
    loss_torch.backward()
    assert_close(loss, loss_torch.detach(), 1e-12, "loss")
    for name in ("codebook", "commitment"):
        assert 0 <= terms[name] < 1e-25 and 0 <= terms_torch[name] < 1e-25
    gradients, gradients_torch = ours.grad_dict(), torch_gradients(theirs)
    for name, gradient in gradients.items():
        learns = not name.startswith(("encoder", "bottleneck.project"))
        assert (np.abs(gradient).max() > 1e-6) == learns, name
        if learns:
            assert_close(gradient, gradients_torch[name], 1e-12, name)
        else:
            assert np.abs(gradients_torch[name]).max() < 1e-12
