"""Losses: known values, extreme logits, and independence of the batch size."""

import math

import numpy as np
import pytest

from scratch.layers.activation import sigmoid
from scratch.losses import (
    LIKELIHOODS,
    BernoulliFromLogits,
    Categorical,
    DiscretizedLogistic,
    Gaussian,
    LogitLaplace,
    SquaredError,
)
from tests.support.models import build

OPTIONS = dict(channels=(4, 6), latent_dim=5, beta=0.5, codes=9, code_dim=3, codebook_init="normal", commitment=0.25,
               temperature="linear:1:0.5:10", hard=False, kl_weight=0.5)


def test_squared_error_sums_inside_an_example_and_averages_over_the_batch():
    x = np.zeros((2, 1, 1, 3))
    y = np.array([1.0, 2.0, 3.0, 0.0, 0.0, 4.0]).reshape(2, 1, 1, 3)
    assert SquaredError().loss(y, x) == (1 + 4 + 9 + 16) / 2


def gaussian(log_sigma, dtype=np.float64):
    loss = Gaussian(dtype)
    loss.log_sigma.value[...] = log_sigma
    return loss


def test_the_gaussian_is_a_density():
    """∫ p(x) dx is 1 for any σ, which checks log σ and ½ log 2π. Its standard deviation is the σ that it reports."""
    x = np.linspace(-40, 40, 400_001)
    for log_sigma in (-3.0, 0.0, 1.5):
        loss = gaussian(log_sigma)
        density = np.array([math.exp(-loss.loss(np.array([[0.5]]), np.array([[at]]))) for at in (0.5, 0.6)])
        sigma = float(loss.measured["sigma"])
        assert sigma == pytest.approx(math.exp(log_sigma) + math.exp(-6), rel=1e-12)
        p = np.exp(-(((x - 0.5) / sigma) ** 2) / 2) / sigma / math.sqrt(2 * math.pi)
        assert p.sum() * (x[1] - x[0]) == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(density, np.interp([0.5, 0.6], x, p), rtol=1e-4)


def test_the_gaussian_s_best_sigma_is_the_error_itself():
    """∂L/∂s is zero where σ² is the mean squared error per element, and has the right sign on either side."""
    rng = np.random.default_rng(0)
    y, x = rng.random((2, 4, 3, 3, 2))
    best = math.log(math.sqrt(((y - x) ** 2).mean()) - math.exp(-6))
    slopes = []
    for log_sigma in (best - 0.1, best, best + 0.1):
        loss = gaussian(log_sigma)
        loss.loss(y, x)
        loss.backward()
        slopes.append(loss.log_sigma.grad[0])
    assert slopes[0] < -1 and slopes[2] > 1 and abs(slopes[1]) < 1e-12


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigma_is_bounded_from_below(dtype):
    """Without the bound the loss of exact predictions would fall without end, and a far too small σ could not grow."""
    x = np.full((2, 3, 3, 1), 0.5, dtype)
    for log_sigma in (-20, -100, -1e4):
        loss = gaussian(log_sigma, dtype)
        assert loss.loss(x, x) == pytest.approx(9 * (-6 + 0.5 * math.log(2 * math.pi)), rel=1e-5)
        assert not loss.backward().any() and np.isfinite(loss.log_sigma.grad).all()
        assert float(loss.measured["sigma"]) == pytest.approx(math.exp(-6), rel=1e-5)


def test_sigma_has_one_dtype_with_the_images():
    with pytest.raises(TypeError, match=r"float32 σ.*float64 output"):
        Gaussian().loss(np.zeros((1, 2)), np.zeros((1, 2)))


def test_bernoulli_at_the_logit_zero_costs_log_two_a_pixel():
    x = np.random.default_rng(0).random((4, 3, 3, 1))
    assert BernoulliFromLogits().loss(np.zeros_like(x), x) == pytest.approx(9 * math.log(2), rel=1e-14)


def test_bernoulli_is_the_cross_entropy_of_the_probability():
    rng = np.random.default_rng(0)
    a, x = rng.standard_normal((5, 7)), rng.random((5, 7))
    p = 1 / (1 + np.exp(-a))
    expected = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum() / 5
    assert BernoulliFromLogits().loss(a, x) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bernoulli_is_finite_and_teaches_at_extreme_logits(dtype):
    """Computed from clipped probabilities, the loss is NaN at 1 and the gradient zero beyond the clip (trap 9)."""
    a = np.array([[40, -40, 1e4, -1e4, 1e4, -1e4, 88, -750]], dtype)
    x = np.array([[0.5, 0.5, 0, 1, 1, 0, 0.25, 1]], dtype)
    loss = BernoulliFromLogits()
    value, gradient = loss.loss(a, x), loss.backward()
    assert value == pytest.approx(20 + 20 + 1e4 + 1e4 + 0 + 0 + 66 + 750, rel=1e-6)
    np.testing.assert_allclose(gradient, [[0.5, -0.5, 1, -1, 0, 0, 0.75, -1]], atol=1e-6)


def test_logit_laplace_is_a_density_of_pixels():
    """∫ p(φ) dφ over (0, 1) is 1 for any μ and b: the constant factor and the Jacobian 1/(φ (1 − φ)) are right."""
    loss = LogitLaplace()
    u = np.linspace(-60, 60, 2_000_001)  # φ = σ(u), so dφ = φ (1 − φ) du, over all of the numbers but the ends
    phi = 1 / (1 + np.exp(-u))
    x, places = ((phi - 0.1) / 0.8)[:, None], [900_000, 1_000_000, 1_100_000]  # where u is −6, 0 and 6
    for mu, s in ((0.0, 0.0), (1.5, -2.0), (-3.0, 0.7)):
        log_b = np.logaddexp(s, loss.LOG_LEAST_SCALE)
        output = np.broadcast_to([mu, s], (len(x), 2))
        each = [loss.loss(output[i : i + 1], x[i : i + 1]) for i in places]
        jacobian = phi[places] * (1 - phi[places])
        laplace = np.exp(-np.abs(u - mu) / np.exp(log_b)) / (2 * np.exp(log_b))
        np.testing.assert_allclose(np.exp(-np.array(each)), laplace[places] / jacobian, rtol=1e-6)
        assert laplace.sum() * (u[1] - u[0]) == pytest.approx(1, abs=1e-6)


def test_the_mean_of_logit_laplace_is_the_inverse_of_phi_and_never_leaves_the_image():
    x = np.array([[0.0, 0.25, 1.0]])
    shrunk = 0.8 * x + 0.1
    mu = np.log(shrunk / (1 - shrunk))
    loss = LogitLaplace()
    np.testing.assert_allclose(loss.mean(np.concatenate([mu, 0 * mu], axis=1)), x, atol=1e-15)
    np.testing.assert_array_equal(loss.mean(np.array([[-1e4, 1e4, 0.0, 0.0]])), [[0, 1]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logit_laplace_is_bounded_at_extreme_scales(dtype):
    """If b = exp(s) had no bound, the loss of an exactly predicted pixel would fall without end, and its gradient rise.
    """
    x = np.full((1, 5), 0.5, dtype)
    mu = np.array([[0, 0, 1, 1, 1]], dtype)  # the logit of φ(½) is 0
    s = np.array([[-1e4, 1e4, -1e4, 1e4, 0]], dtype)
    loss = LogitLaplace()
    value, gradient = loss.loss(np.concatenate([mu, s], axis=1), x), loss.backward()
    b0 = math.exp(loss.LOG_LEAST_SCALE)
    assert b0 == pytest.approx(0.00627, rel=1e-3)
    b = 1 + b0
    exact = 5 * math.log(2 * 0.25) + 2 * math.log(b0) + 2e4 + math.log(b) + 1 / b0 + 1 / b
    assert value == pytest.approx(exact, rel=1e-5)
    np.testing.assert_allclose(gradient[0, :5], [0, 0, 1 / b0, 0, 1 / b], rtol=1e-5)
    np.testing.assert_allclose(gradient[0, 5:], [0, 1, 0, 1, (1 - 1 / b) / b], rtol=1e-5, atol=1e-9)


def test_the_first_half_of_logit_laplace_s_channels_is_the_location_the_second_the_scale():
    loss, x = LogitLaplace(), np.random.default_rng(0).random((2, 3, 3, 2))
    shrunk = 0.8 * x + 0.1
    exactly, scale = np.log(shrunk / (1 - shrunk)), np.full_like(x, -1.0)
    good = loss.loss(np.concatenate([exactly, scale], axis=-1), x)
    assert good < loss.loss(np.concatenate([scale, exactly], axis=-1), x)


# --- probabilities of 8-bit values ------------------------------------------------------------------------------------

GREYS = np.arange(256)[:, None] / 255
LOCATIONS = [-100.0, -1.0, -0.001, 0.0, 1 / 510, 0.2, 0.5, 0.73, 1.0, 1.001, 2.0, 100.0]
SCALES = [-1e4, -50.0, -9.0, -7.7, -6.0, -4.0, -2.0, 0.0, 2.0, 10.0, 50.0, 1e4]  # their logarithms, s


def of_all_greys(loss, output, dtype=np.float64):
    """(nats, gradient) of each of the 256 values of one pixel, whose output is given."""
    outputs, greys = np.broadcast_to(np.asarray(output, dtype), (256, len(output))), GREYS.astype(dtype)
    nats = loss.per_example(outputs, greys)
    return nats, loss.backward(256.0)


@pytest.mark.parametrize("s", SCALES)
def test_a_discretized_logistic_s_256_probabilities_sum_to_one(s):
    for mu in LOCATIONS:
        nats, _ = of_all_greys(DiscretizedLogistic(), [mu, s])
        assert (nats >= 0).all() and np.exp(-nats).sum() == pytest.approx(1, abs=1e-12), mu


def test_a_categorical_s_256_probabilities_sum_to_one():
    rng = np.random.default_rng(0)
    for size in (0, 1, 30, 1e4):
        nats, _ = of_all_greys(Categorical(), size * rng.standard_normal(256))
        assert (nats >= 0).all() and np.exp(-nats).sum() == pytest.approx(1, abs=1e-12), size


def test_a_bin_has_the_probability_between_its_ends_and_the_outer_ones_have_the_tails():
    mu, s = 0.3, -3.0
    scale = math.exp(s) + math.exp(-7) / 2
    ends = 1 / (1 + np.exp(-((np.arange(255) + 0.5) / 255 - mu) / scale))
    nats, _ = of_all_greys(DiscretizedLogistic(), [mu, s])
    np.testing.assert_allclose(np.exp(-nats), np.diff(ends, prepend=0, append=1), rtol=0, atol=1e-15)


@pytest.mark.parametrize("s", SCALES)
def test_a_discretized_logistic_is_finite_and_teaches_in_float32(s):
    """Where both sigmoids round to the same number, the logarithm of their difference is −∞ and its gradient NaN."""
    for mu in LOCATIONS:
        expected, slopes = of_all_greys(DiscretizedLogistic(), [mu, s])
        nats, gradient = of_all_greys(DiscretizedLogistic(), [mu, s], np.float32)
        for here, there in ((nats, expected), (gradient[:, 0], slopes[:, 0]), (gradient[:, 1], slopes[:, 1])):
            assert here.dtype == np.float32 and np.isfinite(here).all()
            np.testing.assert_allclose(here, there, rtol=1e-3, atol=1e-4 * np.abs(there).max() + 1e-37)
        if s < 0:
            away = mu - GREYS[1:255, 0]
            far = np.abs(away) > 1 / 255
            assert (np.sign(gradient[1:255, 0]) == np.sign(away))[far].all(), "μ is sent to the value, from however far"


@pytest.mark.parametrize("s", [-1e4, -8.0, -5.0, -2.0, 0.0])
def test_a_discretized_logistic_costs_least_where_its_location_is_the_value(s):
    mu = np.linspace(-0.5, 1.5, 2041)  # steps of a quarter of a grey level
    for grey in (1, 100, 254):
        outputs = np.stack([mu, np.full_like(mu, s)], axis=1)
        nats = DiscretizedLogistic().per_example(outputs, np.full((len(mu), 1), grey / 255))
        steps = np.diff(nats)
        assert abs(mu[nats.argmin()] - grey / 255) < 1e-3
        assert (steps[mu[1:] < grey / 255] < 0).all() and (steps[mu[:-1] > grey / 255] > 0).all()
    for grey, sign in ((0, 1), (255, -1)):  # black is the likelier the lower the location is, white the higher
        nats = DiscretizedLogistic().per_example(outputs, np.full((len(mu), 1), grey / 255))
        assert (sign * np.diff(nats) >= 0).all()


def test_a_value_between_black_and_white_has_at_most_the_probability_that_the_bound_leaves_it():
    nats, gradient = of_all_greys(DiscretizedLogistic(), [100 / 255, -1e4])
    assert np.exp(-nats[100]) == pytest.approx(math.tanh(1 / (4 * 255 * math.exp(-7) / 2)), rel=1e-12)
    assert nats[100] / math.log(2) == pytest.approx(0.04, abs=0.001)
    assert not gradient[:, 1].any() and gradient[99, 0] > 0 > gradient[101, 0]


@pytest.mark.parametrize("loss", [DiscretizedLogistic(), Categorical()], ids=lambda loss: type(loss).__name__)
def test_a_float_counts_as_the_nearest_8_bit_value(loss):
    """A half goes to the even value, and what lies beyond black or white to these."""
    output = np.random.default_rng(0).standard_normal((1, loss.outputs))
    output[0, 1] = -4
    for given, value in ((100.49, 100), (100.5, 100), (101.5, 102), (99.51, 100), (-3, 0), (0.49, 0), (255.4, 255),
                         (300, 255)):
        assert loss.loss(output, np.array([[given / 255]])) == loss.loss(output, np.array([[value / 255]]))
    assert loss.loss(output, np.array([[0.4]])) != loss.loss(output, np.array([[0.41]]))


def test_logits_of_nothing_cost_eight_bits():
    x = np.random.default_rng(0).random((2, 3, 3, 2))
    loss = Categorical()
    assert loss.loss(np.zeros((2, 3, 3, 512)), x) == pytest.approx(18 * 8 * math.log(2), rel=1e-14)
    np.testing.assert_allclose(loss.mean(np.zeros((2, 3, 3, 512))), np.full((2, 3, 3, 2), 0.5), rtol=1e-14)


def test_a_channel_s_256_logits_stand_in_a_row():
    loss, x = Categorical(), np.array([[3, 200]]) / 255
    output = np.zeros((1, 512))
    output[0, [3, 256 + 200]] = 1e4
    assert loss.loss(output, x) == 0
    np.testing.assert_array_equal(loss.mean(output), x)


def test_the_images_of_8_bit_likelihoods():
    """The location, cut to what a pixel can be; and the expectation of the probabilities."""
    mu = np.array([[-0.5, 0.25, 1.5]])
    np.testing.assert_array_equal(DiscretizedLogistic().mean(np.concatenate([mu, 0 * mu], axis=1)), [[0, 0.25, 1]])
    logits = np.random.default_rng(0).standard_normal((1, 256)).astype(np.float32)
    p = np.exp(logits[0].astype(np.float64))
    mean = Categorical().mean(logits)
    assert mean.dtype == np.float32 and mean[0, 0] == pytest.approx(p @ GREYS[:, 0] / p.sum(), rel=1e-6)
    white = np.where(np.arange(256) == 255, 100, 0).astype(np.float32)[None]
    assert Categorical().mean(white)[0, 0] <= 1


def test_sigmoid_keeps_both_tails():
    x = np.array([-745.0, -40.0, 0.0, 40.0, 1e4])
    np.testing.assert_allclose(sigmoid(x), [5e-324, math.exp(-40) / (1 + math.exp(-40)), 0.5, 1, 1], rtol=1e-15)


@pytest.mark.parametrize("name, mean", [
    ("squared_error", 2.0), ("gaussian", 2.0), ("bernoulli", 1 / (1 + math.exp(-2)))])
def test_a_likelihood_knows_what_the_output_means(name, mean):
    assert LIKELIHOODS[name]().mean(np.array([2.0]))[0] == pytest.approx(mean, rel=1e-15)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("name", ["ae", "vae", "vqvae", "vqvae2", "dvae"])
def test_the_loss_and_its_gradient_do_not_depend_on_the_batch_size(name, likelihood):
    """A batch-summed term among batch means would double its weight with the batch (trap 5)."""
    rng = np.random.default_rng(0)
    model = build(name, (8, 8, 2), {**OPTIONS, "likelihood": likelihood}, dtype=np.float64, rng=rng)
    x = rng.random((3, 8, 8, 2))
    noise = model.bottleneck.draw_noise(3, rng)

    def loss_terms_and_gradients(times):
        model.zero_grad()
        repeated = None if noise is None else np.concatenate([noise] * times)
        loss, terms = model.loss(np.concatenate([x] * times), repeated)
        model.backward()
        return {"loss": loss, **terms, **model.grad_dict()}

    once, twice = loss_terms_and_gradients(1), loss_terms_and_gradients(2)
    for key, value in once.items():
        np.testing.assert_allclose(twice[key], value, rtol=1e-11, atol=1e-13 * np.abs(value).max())


@pytest.mark.parametrize("name, weights", [
    ("ae", {"reconstruction": 1.0}),
    ("vae", {"reconstruction": 1.0, "kl": 0.5}),
    ("dvae", {"reconstruction": 1.0, "kl": 0.5}),
    ("vqvae", {"reconstruction": 1 / 128, "codebook": 1 / 12, "commitment": 0.25 / 12}),
    ("vqvae2", {
        "reconstruction": 1 / 128,
        "codebook_top": 1 / 12, "commitment_top": 0.25 / 12, "codebook_bottom": 1 / 48, "commitment_bottom": 0.25 / 48,
    }),
])
def test_the_loss_is_the_weighted_sum_of_its_terms(name, weights):
    """The VQ-VAE's terms are means over elements: 8·8·2 of an image, 2·2·3 of its latents, 4·4·3 of the bottom ones."""
    rng = np.random.default_rng(0)
    model = build(name, (8, 8, 2), {**OPTIONS, "likelihood": "squared_error"}, dtype=np.float64, rng=rng)
    loss, terms = model.loss(rng.random((3, 8, 8, 2)))
    assert terms.keys() == weights.keys()
    assert loss == pytest.approx(sum(weights[key] * terms[key] for key in weights), rel=1e-14)
