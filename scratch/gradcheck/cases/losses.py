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
