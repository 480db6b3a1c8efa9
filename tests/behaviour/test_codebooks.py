"""The cures for unused codes: what each of them does to which codes."""

import math

import numpy as np
import pytest

from scratch.arrays import to_device
from scratch.bottlenecks import CuredVectorQuantizer, SoftAssignmentEntropy, UnitLength
from scratch.bottlenecks.codebook.dead_codes import DeadCodes
from scratch.bottlenecks.codebook.kmeans import lloyd
from scratch.bottlenecks.codebook.moving_average import EPSILON, MovingAverages
from scratch.optim import Adam
from scratch.training.trainer import Trainer
from tests.gpu_emulated.stand_in import DeviceArray, counting
from tests.support.cures import CURES, MOVING
from tests.support.tiny import images, new_model

each_cure = pytest.mark.parametrize("cure", CURES)


def new_trainer(cure, device="cpu", dtype=np.float32, **changes):
    model = new_model("vqvae", **{"codebook_init": "normal", **CURES[cure], **changes}, dtype=dtype).to(device)
    trainer = Trainer(model, Adam(model.named_parameters(), 1e-3), seed=0, device=device)
    if model.bottleneck.prepared_from:
        trainer.prepare([images(8).astype(dtype)] * 2)
    return trainer


def quantized(z, **cures):
    """A quantizer of seven codes after a training forward and backward of z (N, D)."""
    quantizer = CuredVectorQuantizer(7, z.shape[1], "normal", dtype=z.dtype, rng=np.random.default_rng(0), **cures)
    q, terms = quantizer.forward(z)
    quantizer.backward(np.ones_like(q), dict.fromkeys(terms, 1.0))
    return quantizer


# --- moving averages --------------------------------------------------------------------------------------------------


def test_after_the_first_update_a_code_is_the_mean_of_its_latents():
    """The averages are debiased. Without that, counts would be a hundredth of the true ones, and the
    smoothing would weigh a hundred times as much."""
    z = np.random.default_rng(1).standard_normal((60, 3))
    quantizer = quantized(z, ema_decay=0.99)
    k = quantizer.indices
    quantizer.update()
    for code in np.unique(k):
        np.testing.assert_allclose(quantizer.codebook.value[code], z[k == code].mean(axis=0), rtol=2 * EPSILON)
    np.testing.assert_allclose(quantizer.averages.weight.value, [0.01])


def test_the_averages_are_sonnet_s():
    """The formula, step by step in plain Python. The smoothing affects the quotient, and not the state."""
    rng, decay, K, D = np.random.default_rng(0), 0.9, 4, 2
    averages = MovingAverages(np.zeros((K, D)), decay)
    N, m = np.zeros(K), np.zeros((K, D))
    for t in range(1, 6):
        n, sums = rng.integers(0, 5, K).astype(float), rng.standard_normal((K, D))
        n[3] = 0
        sums[n == 0] = 0
        averages.update(n, sums)
        for k in range(K):
            N[k] = decay * N[k] + (1 - decay) * n[k]
            m[k] = decay * m[k] + (1 - decay) * sums[k]
        unbiased = 1 - decay**t
        total = sum(N) / unbiased
        for k in range(K):
            smoothed = (N[k] / unbiased + 1e-5) / (total + K * 1e-5) * total
            np.testing.assert_allclose(averages.codes()[k], m[k] / unbiased / smoothed, rtol=1e-12)
        np.testing.assert_allclose(averages.counts.value, N, rtol=1e-12)
        np.testing.assert_allclose(averages.weight.value, [unbiased], rtol=1e-12)
    assert not averages.codes()[3].any(), "a code never chosen goes to the origin"


def test_a_codebook_of_averages_has_no_gradient_and_no_term_of_its_own():
    quantizer = quantized(np.random.default_rng(1).standard_normal((20, 3)), ema_decay=0.9)
    assert quantizer.named_parameters() == {}
    assert list(quantizer.named_state()) == ["codebook", "averages.counts", "averages.sums", "averages.weight"]
    assert quantizer.codebook.grad is None
    assert set(new_trainer("ema").model.weights) == {"reconstruction", "commitment"}


# --- restarts ---------------------------------------------------------------------------------------------------------


def test_codes_restart_when_their_patience_is_over_and_not_before():
    dead, z = DeadCodes(np.zeros((3, 2)), 2), np.arange(10.0).reshape(5, 2)
    histories = [([1, 0, 0], []), ([1, 1, 0], [2]), ([0, 0, 0], []), ([0, 0, 1], [0, 1])]
    for counts, expected in histories:
        restarted, _ = dead.update(np.array(counts), z, np.random.default_rng(0).random(5))
        assert np.flatnonzero(restarted).tolist() == expected


@pytest.mark.parametrize("latents", [3, 40])
def test_no_two_codes_restart_from_the_same_latent(latents):
    """If there are more dead codes than latents, the rest are restarted in the following steps."""
    dead = DeadCodes(np.zeros((8, 2)), 1)
    z = np.random.default_rng(0).standard_normal((latents, 2))
    restarted, fresh = dead.update(np.zeros(8), z, np.random.default_rng(1).random(latents))
    assert restarted.sum() == min(8, latents)
    chosen = {tuple(code) for code in fresh[restarted]}
    assert len(chosen) == restarted.sum() and chosen <= set(map(tuple, z))


@pytest.mark.parametrize("cures", [{}, {"ema_decay": 0.9}], ids=["gradient", "ema"])
def test_a_restarted_code_is_where_a_latent_is_and_stays_there(cures):
    z = np.random.default_rng(1).standard_normal((60, 3))
    quantizer = quantized(z, restart_after=1, **cures)
    quantizer.codebook.value[5] = 1e3
    quantizer.forward(z)
    assert not (quantizer.indices == 5).any()
    quantizer.update(quantizer.draw_choices(np.random.default_rng(2)))
    code = quantizer.codebook.value[5].copy()
    assert (z == code).all(axis=1).any()
    if cures:  # the averages agree with it: the next step, in which nobody chooses it, leaves it in its place
        quantizer.dead_codes.patience = 99
        quantizer.forward(z[quantizer.nearest(z) != 5])
        quantizer.update(np.zeros(quantizer.indices.size))
        np.testing.assert_allclose(quantizer.codebook.value[5], code, rtol=1e-4)


# --- k-means ----------------------------------------------------------------------------------------------------------


def test_lloyd_finds_clusters_that_are_far_apart_and_never_gets_worse():
    rng = np.random.default_rng(0)
    middles = 10 * rng.standard_normal((5, 3))
    vectors = np.concatenate([middle + 0.1 * rng.standard_normal((20, 3)) for middle in middles])

    def error(centres):
        return ((vectors[:, None] - centres) ** 2).sum(axis=-1).min(axis=1).sum()

    start = vectors[rng.choice(100, 9, replace=False)]
    errors = [error(start), *(error(lloyd(vectors, start, n)[0]) for n in range(1, 8))]
    assert all(later <= earlier + 1e-9 for earlier, later in zip(errors, errors[1:], strict=False))
    assert errors[-1] < errors[0]
    exact, counts = lloyd(vectors, middles + 1, 3)
    np.testing.assert_allclose(exact, vectors.reshape(5, 20, 3).mean(axis=1))
    np.testing.assert_array_equal(counts, 20)


def test_kmeans_follows_from_the_seed_and_averages_begin_there():
    one, two = new_trainer("kmeans, ema, restart"), new_trainer("kmeans, ema, restart")
    codebook = one.model.bottleneck.quantizer.codebook.value
    np.testing.assert_array_equal(codebook, two.model.bottleneck.quantizer.codebook.value)
    averages = one.model.bottleneck.quantizer.averages
    np.testing.assert_allclose(averages.codes(), codebook, rtol=1e-3, atol=1e-6)
    assert averages.weight.value == 1


# --- the entropy term -------------------------------------------------------------------------------------------------


def test_the_gap_is_zero_for_equal_use_and_log_K_for_a_single_code():
    e = 100 * np.eye(4)
    assert SoftAssignmentEntropy(1.0).forward(e.copy(), e) == pytest.approx(0, abs=1e-12)
    assert SoftAssignmentEntropy(1.0).forward(e[:1].copy(), e) == pytest.approx(math.log(4), rel=1e-12)


def test_in_float32_codes_far_out_of_reach_make_no_nan():
    """Their share underflows to an exact zero."""
    z, e = np.random.default_rng(0).standard_normal((2, 6, 3)).astype(np.float32)
    e[0] = 1e4
    module = SoftAssignmentEntropy(0.01)
    gap = module.forward(z, e)
    gradients = module.backward(1.0)
    assert gap.dtype == np.float32 and all(g.dtype == np.float32 and np.isfinite(g).all() for g in gradients)
    assert np.isfinite(gap) and not gradients[1][0].any()


def test_descending_the_gap_spreads_the_use():
    rng = np.random.default_rng(0)
    z, e = rng.standard_normal((50, 2)), 0.1 * rng.standard_normal((8, 2)) + 2
    module, gaps = SoftAssignmentEntropy(0.5), []
    for _ in range(200):
        gaps.append(module.forward(z, e))
        _, de = module.backward()
        e -= 0.5 * de
    assert gaps[-1] < 0.5 * gaps[0] and gaps[-1] >= 0


# --- cosine -----------------------------------------------------------------------------------------------------------


def test_under_the_cosine_metric_lengths_do_not_matter():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((40, 3))
    quantizer = quantized(z, cosine=True)
    q, k = quantizer.forward(z)[0], quantizer.indices
    e = quantizer.codebook.value
    cosines = z @ e.T / np.linalg.norm(z, axis=1)[:, None] / np.linalg.norm(e, axis=1)
    np.testing.assert_array_equal(k, cosines.argmax(axis=1))
    np.testing.assert_allclose(np.linalg.norm(q, axis=1), 1)
    e *= rng.uniform(0.1, 10, (7, 1))
    np.testing.assert_array_equal(quantizer.nearest(z * rng.uniform(0.1, 10, (40, 1))), k)


def test_a_zero_vector_has_no_direction_and_no_nan():
    unit = UnitLength()
    np.testing.assert_array_equal(unit.forward(np.zeros((2, 3))), 0)
    assert np.isfinite(unit.backward(np.ones((2, 3)))).all()


# --- in training ------------------------------------------------------------------------------------------------------


def codes_used(sickness, **cures):
    """How many of the 64 codes a batch uses after sixty steps, from a codebook of which few are near any latent."""
    model, x = new_model("vqvae", codebook_init="normal", commitment=1.0), images(64)
    sick = model.bottleneck.quantizer.codebook.value.copy()
    sick[1:] = sickness(sick[1:])
    model = new_model("vqvae", **{"codebook_init": "normal", "commitment": 1.0, **cures})
    model.bottleneck.quantizer.codebook.value[...] = sick
    trainer = Trainer(model, Adam(model.named_parameters(), 3e-3), 0)
    if model.bottleneck.prepared_from:
        trainer.prepare([x])
    for step in range(60):
        _, counts = trainer.step(x, 1, step)
    return int((counts[""] > 0).sum())


@pytest.mark.parametrize("sickness, cures", [
    (lambda e: e + 3, CURES["restart"]),
    (lambda e: e + 3, CURES["kmeans, ema, restart"]),
    (lambda e: e + 3, CURES["all"]),
    (lambda e: e + 0.5, {"entropy_weight": 1.0, "entropy_temperature": 1.0}),
], ids=["restart", "kmeans, ema, restart", "all", "entropy"])
def test_a_cure_brings_codes_into_use(sickness, cures):
    assert codes_used(sickness) <= 2
    assert codes_used(sickness, **cures) >= 16


@each_cure
def test_resuming_equals_never_having_stopped(cure):
    whole, second = new_trainer(cure), new_trainer(cure)
    for step in range(8):
        whole.step(images(8), 1, step)
        if step == 3:
            second.load(*whole.state())
        elif step > 3:
            second.step(images(8), 1, step)
    for name, value in whole.state()[0].items():
        np.testing.assert_array_equal(second.state()[0][name], value)
        assert value.dtype == np.float32


@each_cure
def test_a_step_on_the_device_waits_for_nothing_and_is_numpy_s(cupy, monkeypatch, cure):
    """CuPy's generator draws other numbers than NumPy's, so both devices receive the same choices."""
    states = []
    for device in ("cpu", "gpu"):
        trainer, x = new_trainer(cure, device, np.float64), images(8).astype(np.float64)
        quantizer, rng = trainer.model.bottleneck.quantizer, np.random.default_rng(1)
        if quantizer.dead_codes:
            choices = [to_device(rng.random(8 * 4 * 4), device) for _ in range(6)]
            monkeypatch.setattr(quantizer, "draw_choices", lambda rng, given=choices: given.pop(0))
        for step in range(6):
            with counting() as during:
                trainer.step(x, 1, step)
        states.append(trainer.state()[0])
    assert (during.transfers_to_device, during.bytes_to_device) == (1, x.nbytes)
    assert during.waits == during.transfers_to_host == 0
    assert all(isinstance(part.value, DeviceArray) for part in trainer.model.named_state().values())
    for name, value in states[0].items():
        np.testing.assert_allclose(states[1][name], value, rtol=1e-9, atol=1e-9 * np.abs(value).max(), err_msg=name)


@pytest.mark.parametrize("cure", MOVING)
def test_a_generator_s_choices_are_drawn_on_the_device(cupy, cure):
    trainer = new_trainer(cure, "gpu")
    for step in range(4):
        with counting() as during:
            trainer.step(images(8), 1, step)
        assert during.waits == 0 and during.transfers_to_device == 1
