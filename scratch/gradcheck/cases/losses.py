"""The likelihoods."""

from scratch import losses
from scratch.arrays import array_module
from scratch.gradcheck.cases.case import add, away_from_zero, normal
from scratch.gradcheck.differences import of_module


def of_likelihood(module, output, target):
    """The Operation loss = likelihood.loss(output, target)."""
    return of_module(
        module,
        {"output": output},
        lambda: {"loss": module.loss(output, target)},
        lambda upstream: [module.backward(upstream["loss"])],
        constants={"target": target},
    )


def logit_laplace(case, rng):
    """loss = LogitLaplace(output, target); each location keeps 0.1 away from the kink, the logit of its target."""
    module = losses.LogitLaplace()
    target = rng.random(case.shape)
    shrunk = (1 - 2 * module.EPSILON) * target + module.EPSILON
    xp = array_module(target)
    location = xp.log(shrunk / (1 - shrunk)) + away_from_zero(case.shape, rng)
    output = xp.concatenate([location, normal(case.shape, rng)], axis=-1)
    return of_likelihood(module, output, target)


def discretized_logistic(case, rng):
    """loss = DiscretizedLogistic(output, target), with black and white among the targets. The locations lie
    near them and the scales are some grey levels, so that every part of the formula affects the gradient. With smaller
    scales the loss would curve too much within the step of a finite difference."""
    target = rng.random(case.shape)
    xp, flat = array_module(target), target.reshape(-1)
    flat[::5], flat[1::5] = 0, 1
    location = target + 0.03 * normal(case.shape, rng)
    output = xp.concatenate([location, rng.uniform(-3, -2, case.shape)], axis=-1)
    return of_likelihood(losses.DiscretizedLogistic(), output, target)


def categorical(case, rng):
    """loss = Categorical(output, target)."""
    module, target = losses.Categorical(), rng.random(case.shape)
    return of_likelihood(module, normal((*case.shape[:-1], module.outputs * case.shape[-1]), rng), target)


def gaussian(case, rng):
    """loss = Gaussian(output, target), with σ near its bound, so that the bound affects the gradient."""
    module = losses.Gaussian(case.dtype)
    module.log_sigma.value = rng.uniform(-7, -5, 1)
    output, target = normal(case.shape, rng), rng.random(case.shape)
    return of_likelihood(module, output, target)


def loss(case, rng):
    """loss = reconstruction.loss(output, target), with targets in [0, 1]."""
    module = getattr(losses, case.name)()
    output, target = normal(case.shape, rng), rng.random(case.shape)
    return of_likelihood(module, output, target)


add(loss, "SquaredError", (3, 4, 5, 2))
add(gaussian, "Gaussian", (3, 4, 5, 2))
add(loss, "BernoulliFromLogits", (3, 4, 5, 2))
add(logit_laplace, "LogitLaplace", (3, 4, 5, 2))
add(discretized_logistic, "DiscretizedLogistic", (3, 4, 5, 2))
add(categorical, "Categorical", (3, 1, 1, 2))
