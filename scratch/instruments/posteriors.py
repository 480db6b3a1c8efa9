"""The posteriors q(z | x) of images: what the bottlenecks say of them (bottlenecks/posterior.py), for whole sets."""

from scratch.arrays import to_host
from scratch.options.errors import InputError

NONE = "the code of this model is no random variable with a prior: it has neither a rate nor an ELBO."


def posterior_kind(model):
    """The class of a model's posteriors; None of a model that has none, as the AE."""
    return model.bottleneck.posterior_kind if model.has_images else None


def is_gaussian(model):
    """Is the posterior a diagonal Gaussian with the prior N(0, I)?"""
    kind = posterior_kind(model)
    return kind is not None and kind.gaussian


def posterior(model, x):
    """q(z | x) of images x. Raises InputError where the model has no such thing."""
    if posterior_kind(model) is None:
        raise InputError(NONE)
    return model.bottleneck.posterior(model.encoder.forward(x))


def gaussian_posteriors(trained, images):
    """(μ, logvar), each (N, Z), of a VAE's posteriors of all images (uint8, or floats in [0, 1]), on the host.

    The means alone are trained.encode(images).
    """

    def of_batch(x):
        with trained.model.evaluating():
            q = posterior(trained.model, x)
            return [to_host(q.mu), to_host(q.logvar)]

    return tuple(trained.in_batches(of_batch, images))
