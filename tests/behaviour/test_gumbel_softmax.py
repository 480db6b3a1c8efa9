"""The relaxed draw: its noise, its limits, its straight-through form. Evaluation draws codes, not mixtures."""

import decimal
import math

import numpy as np
import pytest

from scratch.accelerate import accelerate_on_gpu
from scratch.arrays import to_device, to_host
from scratch.bottlenecks import CategoricalKL, CodeMixture, GumbelSoftmax, GumbelSoftmaxBottleneck
from scratch.bottlenecks.gumbel_softmax import above_uniform, gumbel_noise, log_ratio
from scratch.layers.softmax import log_softmax
from tests.support.tiny import images, new_model, train

FEATURES = (2, 2, 4)
LOGITS = np.array([2.0, 0.0, -1.0, 0.5, 0.5])
P = np.exp(LOGITS) / np.exp(LOGITS).sum()


def bottleneck(temperature=1.0, hard=False, dtype=np.float64):
    rng = np.random.default_rng(1)
    return GumbelSoftmaxBottleneck(FEATURES, 6, 3, "normal", temperature, hard, dtype=dtype, rng=rng)


# --- the noise --------------------------------------------------------------------------------------------------------


class Ends:
    """A generator that draws 0 and 1 in turn. CuPy's generator includes one of them, NumPy's the other."""

    def random(self, shape, dtype):
        return np.resize(np.array([0, 1], dtype), shape)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_noise_is_finite_at_both_ends(dtype):
    least, largest = gumbel_noise((2,), dtype, Ends())
    assert least.dtype == dtype and np.isfinite([least, largest]).all()
    assert least < -4 and largest > 16


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_drawn_noise_is_gumbel_s(dtype):
    """Its distribution function is exp(−exp(−g)), its mean Euler's constant, its variance π²/6."""
    noise = bottleneck(dtype=dtype).draw_noise(8000, np.random.default_rng(0))
    assert noise.shape == (8000, 2, 2, 6) and noise.dtype == dtype
    count = noise.size
    assert noise.mean() == pytest.approx(np.euler_gamma, abs=5 * math.pi / math.sqrt(6 * count))
    assert noise.var() == pytest.approx(math.pi**2 / 6, rel=0.02)
    below = np.exp(-np.exp(-np.sort(noise.ravel().astype(np.float64))))
    assert np.abs(below - (np.arange(count) + 0.5) / count).max() < 1.95 / math.sqrt(count)


def test_the_largest_perturbed_logit_is_a_draw_from_the_softmax():
    """The Gumbel-max trick: code k comes up with probability softmax(a)ₖ."""
    count = 200_000
    drawn = (LOGITS + gumbel_noise((count, 5), np.float64, np.random.default_rng(0))).argmax(axis=1)
    frequency = np.bincount(drawn, minlength=5) / count
    assert (np.abs(frequency - P) < 5 * np.sqrt(P * (1 - P) / count)).all()


# --- the relaxed draw -------------------------------------------------------------------------------------------------


def draws(temperature, hard=False, count=1000):
    rng = np.random.default_rng(0)
    noise = gumbel_noise((count, 5), np.float64, rng)
    return GumbelSoftmax(hard).forward(np.tile(LOGITS, (count, 1)), noise, temperature), noise


def test_a_relaxed_draw_tends_to_a_code_as_the_temperature_falls_and_to_none_as_it_rises():
    for temperature, largest in ((1e-3, 1.0), (1e3, 0.2)):
        y, noise = draws(temperature)
        np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-12)
        np.testing.assert_array_equal(y.argmax(axis=1), (LOGITS + noise).argmax(axis=1))
        assert y.max(axis=1).mean() == pytest.approx(largest, abs=0.01)


def test_a_hard_draw_is_one_hot_at_every_temperature_and_its_gradient_is_the_soft_one_s():
    dy = np.random.default_rng(2).standard_normal((50, 5))
    rng = np.random.default_rng(0)
    logits, noise = np.tile(LOGITS, (50, 1)), gumbel_noise((50, 5), np.float64, rng)
    for temperature in (0.1, 1.0, 10.0):
        soft, hard = GumbelSoftmax(), GumbelSoftmax(hard=True)
        y = hard.forward(logits, noise, temperature)
        assert set(np.unique(y)) == {0.0, 1.0} and (y.sum(axis=1) == 1).all()
        np.testing.assert_array_equal(y.argmax(axis=1), soft.forward(logits, noise, temperature).argmax(axis=1))
        np.testing.assert_array_equal(hard.backward(dy), soft.backward(dy))


def test_backward_uses_the_temperature_of_its_forward():
    """A schedule may have changed the temperature in between."""
    module, dy = bottleneck("linear:1:0.1:2"), np.ones((3, *FEATURES))
    h, noise = np.random.default_rng(0).standard_normal((3, *FEATURES)), module.draw_noise(3, np.random.default_rng(3))
    gradients = []
    for later in (0, 2):
        module.at_step(0)
        module.zero_grad()
        module.forward(h, noise)
        module.at_step(later)
        gradients.append(module.backward(dy, {"kl": 1.0}))
    np.testing.assert_array_equal(*gradients)


def test_the_temperature_follows_its_schedule_and_is_left_alone_by_evaluation():
    model = new_model("dvae", temperature="linear:1:0.5:10")
    seen = []
    for step in (0, 5, 10, 11):
        model.at_step(step)
        seen.append(model.bottleneck.temperature)
        model.reconstruct(images(2))
        assert model.bottleneck.temperature == seen[-1]
    assert seen == [1.0, 0.75, 0.5, 0.5]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_and_low_temperatures_neither_overflow_nor_give_nan(dtype):
    logits = np.array([[1e4, -1e4, 0, 1e4]], dtype)
    noise = gumbel_noise(logits.shape, dtype, np.random.default_rng(0))
    draw = GumbelSoftmax()
    y = draw.forward(logits, noise, 1 / 16)
    assert np.isfinite(y).all() and np.isfinite(draw.backward(np.ones_like(y))).all()
    kl = CategoricalKL()
    assert kl.forward(logits) == pytest.approx(math.log(4) - math.log(2), rel=1e-6)
    assert np.isfinite(kl.backward()).all()
    np.testing.assert_allclose(log_softmax(logits), [[-math.log(2), -2e4, -1e4, -math.log(2)]], rtol=1e-4)


@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 1e-37, 1e-38, 1e-39, 1e-45, 1e-60, 1e-300, 5e-324])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", ["plain", "fused"])
def test_at_the_lowest_temperatures_a_draw_is_one_hot(cupy, form, dtype, temperature):
    """In float32 1/τ overflows for τ ≤ 1e-39, and so do logits divided by τ before the largest is subtracted."""
    draw, device = GumbelSoftmax(), "gpu" if form == "fused" else "cpu"
    if form == "fused":
        accelerate_on_gpu(draw)
    a, g, dy = (to_device(np.array([row], dtype), device) for row in ([0.5, 0, 1], [0.5, 2, 29], [3, -2, 5]))
    np.testing.assert_array_equal(to_host(draw.forward(a, g, temperature)), [[0, 0, 1]])
    np.testing.assert_array_equal(to_host(draw.backward(dy)), [[0, 0, 0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_tie_at_the_lowest_temperature_is_shared(dtype):
    draw = GumbelSoftmax()
    y = draw.forward(np.array([[7, 7, -1]], dtype), np.zeros((1, 3), dtype), 1e-38)
    np.testing.assert_array_equal(y, [[0.5, 0.5, 0]])


# --- the KL -----------------------------------------------------------------------------------------------------------


def exact_uniform_kl(logits):
    """(KL(softmax ‖ uniform), its gradient, max |p r|) of exactly the numbers of a row, with 80 digits."""
    with decimal.localcontext(decimal.Context(prec=80)):
        exponentials = [decimal.Decimal(float(a)).exp() for a in logits]
        p = [e / sum(exponentials) for e in exponentials]
        ratio = [(len(p) * q).ln() for q in p]
        kl = sum(q * r for q, r in zip(p, ratio, strict=True))
        gradient = np.array([float(q * (r - kl)) for q, r in zip(p, ratio, strict=True)])
        return float(kl), gradient, float(max(abs(q * r) for q, r in zip(p, ratio, strict=True)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("codes", [2, 5, 512])
def test_the_kl_of_nearly_uniform_logits_is_accurate_and_never_negative(codes, dtype):
    """Σ p (log p + log K) would be lost to rounding, and be negative half of the time."""
    rng, eps = np.random.default_rng(0), float(np.finfo(dtype).eps)
    for size in (0.0, *10.0 ** np.arange(-12, 2)):
        for centre in (0.0, 3.0):
            logits = (centre + size * rng.standard_normal(codes)).astype(dtype)
            expected, gradient, size_of_terms = exact_uniform_kl(logits)
            module = CategoricalKL()
            kl, found = module.forward(logits[None]), module.backward()[0]
            assert kl >= 0
            assert abs(kl - expected) <= 200 * eps * expected + 4 * eps**2
            assert np.abs(found - gradient).max() <= 16 * eps * size_of_terms + 1e-70


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_measured_rate_of_nearly_uniform_logits_is_that_of_training(dtype):
    logits = (1e-4 * np.random.default_rng(0).standard_normal((3, 2, 2, 6))).astype(dtype)
    kl = above_uniform(log_ratio(logits)).mean(axis=-1)
    assert (kl >= 0).all()
    assert kl.sum() / 3 == pytest.approx(CategoricalKL().forward(logits), rel=1e-5)


def test_a_code_that_cannot_be_leaves_a_finite_kl():
    logits, module = np.array([[0.0, -np.inf, 0.0, -1e5]]), CategoricalKL()
    assert module.forward(logits) == pytest.approx(math.log(2), rel=1e-14)
    np.testing.assert_allclose(module.backward(), 0, atol=1e-16)


def test_the_kl_lies_between_that_of_the_uniform_distribution_and_that_of_a_single_code():
    """The KL is in nats, summed over positions and averaged over the batch. It has no noise, so it never varies."""
    assert CategoricalKL().forward(np.full((3, 2, 2, 6), 7.0)) == pytest.approx(0, abs=1e-14)
    certain = np.where(np.arange(6) == 2, 1e3, 0.0) * np.ones((3, 2, 2, 6))
    assert CategoricalKL().forward(certain) == pytest.approx(4 * math.log(6), rel=1e-14)
    entropy = -(P * np.log(P)).sum()
    assert CategoricalKL().forward(LOGITS[None]) == pytest.approx(math.log(5) - entropy, rel=1e-14)


def test_the_kl_is_the_mean_of_log_q_minus_log_p_over_draws():
    count = 200_000
    drawn = (LOGITS + gumbel_noise((count, 5), np.float64, np.random.default_rng(1))).argmax(axis=1)
    ratio = np.log(P[drawn]) - math.log(1 / 5)
    assert abs(CategoricalKL().forward(LOGITS[None]) - ratio.mean()) < 5 * ratio.std() / math.sqrt(count)


# --- the bottleneck ---------------------------------------------------------------------------------------------------


def gradients(module, h, noise):
    module.zero_grad()
    y, _ = module.forward(h, noise)
    dh = module.backward(np.ones_like(y), {"kl": 0.1})
    return {"y": y, "h": dh, **module.grad_dict()}


def test_backward_uses_the_noise_that_forward_drew():
    """Fresh noise in forward, other noise in backward."""
    h = np.random.default_rng(0).standard_normal((3, *FEATURES))
    drawing, given = bottleneck(), bottleneck()
    expected = gradients(given, h, given.draw_noise(3, given.rng))  # what `drawing` will draw
    for name, gradient in gradients(drawing, h, None).items():
        np.testing.assert_array_equal(gradient, expected[name])
    other = gradients(given, h, given.draw_noise(3, given.rng))
    assert np.abs(other["project.weight"] - expected["project.weight"]).max() > 1e-3


@pytest.mark.parametrize("hard", [False, True])
def test_evaluation_decodes_a_drawn_code_whatever_the_temperature_and_saves_nothing(hard):
    h = np.random.default_rng(0).standard_normal((3, *FEATURES))
    answers = []
    for temperature in (0.1, 10.0):
        module = bottleneck(temperature, hard).eval()
        noise = module.draw_noise(3, np.random.default_rng(3))
        y, terms = module.forward(h, noise)
        answers.append(y)
        assert all(part.saved is None for part in module.modules())
        with pytest.raises(RuntimeError, match="needs a forward in training mode"):
            module.backward(y, {"kl": 1.0})
    np.testing.assert_array_equal(*answers)
    drawn = (module.project.forward(h) + noise).argmax(axis=-1)
    np.testing.assert_array_equal(y, module.decode(drawn))
    assert (drawn != module.encode(h)).any(), "the noise decided somewhere"
    np.testing.assert_array_equal(module.indices, module.encode(h))
    training = module.train()
    trained, terms_of_training = training.forward(h, noise)
    assert terms == terms_of_training
    assert np.allclose(trained, y) == hard


def test_evaluation_draws_the_codes_of_the_posterior():
    """The reported loss is then the discrete model's own ELBO, an expectation over q(k | x), not over mixtures."""
    module = bottleneck().eval()
    h = np.broadcast_to(np.random.default_rng(0).standard_normal((1, *FEATURES)), (20_000, *FEATURES))
    p = np.exp(log_softmax(module.project.forward(h[:1])))[0]
    expected = np.einsum("ijk,kc->ijc", p, module.decode(np.arange(6).reshape(6, 1, 1))[:, 0, 0])
    y, _ = module.forward(h, module.draw_noise(len(h), np.random.default_rng(0)))
    assert (np.abs(y.mean(axis=0) - expected) < 5 * y.std(axis=0) / math.sqrt(len(h)) + 1e-12).all()


def test_a_lookup_is_the_product_with_one_hot_vectors():
    mixture = CodeMixture(6, 3, "normal", dtype=np.float64, rng=np.random.default_rng(0))
    indices = np.random.default_rng(1).integers(0, 6, (4, 2, 3))
    np.testing.assert_array_equal(mixture.lookup(indices), mixture.forward(np.eye(6)[indices]))


def test_mixed_codes_begin_and_end_at_the_codes_themselves():
    module = bottleneck()
    a, b = np.random.default_rng(0).integers(0, 6, (2, 3, 2, 2))
    np.testing.assert_array_equal(module.mix(a, b, 0.0), a)
    np.testing.assert_array_equal(module.mix(a, b, 1.0), b)


def test_a_larger_weight_of_the_kl_makes_the_posterior_less_certain():
    x, kl = images(256), []
    for weight in (0.01, 1.0, 3.0):
        model = train(new_model("dvae", kl_weight=weight, codebook_init="normal"), x, epochs=10)
        with model.evaluating():
            kl.append(float(model.loss(x)[1]["kl"]))
    assert kl[0] > 2 * kl[1] > 4 * kl[2]
