"""The posteriors q(z | x) of whole sets of images, from those of the bottlenecks (bottlenecks/posterior.py)."""

from scratch.options.errors import InputError

NONE = "a rate and an ELBO need a prior for the code, and this model's code has none."


def posterior_kind(model):
    """The class of a model's posteriors; None of a model without a prior, such as the AE."""
    return model.bottleneck.posterior_kind if model.has_images else None


def is_gaussian(model):
    """Is the posterior a diagonal Gaussian with the prior N(0, 1)?"""
    kind = posterior_kind(model)
    return kind is not None and kind.gaussian


def posterior(model, x):
    """q(z | x) of images x. Raises InputError for a model without a prior."""
    if posterior_kind(model) is None:
        raise InputError(NONE)
    return model.bottleneck.posterior(model.encoder.forward(x))


def gaussian_posteriors(trained, images):
    """(μ, logvar), each (N, Z), of a VAE's posteriors of all stored images, on the host.

    trained.encode(images) gives the means alone. Raises InputError where a KL overflows.
    """
    return tuple(of_posteriors(trained, images, lambda q: [q.mu, q.logvar, q.kl()])[:2])


def means_and_kl(trained, images):
    """(μ, KL), each (N, Z), of a VAE's posteriors of all stored images, on the host; the KL is in nats."""
    return tuple(of_posteriors(trained, images, lambda q: [q.mu, q.kl()]))


def of_posteriors(trained, images, read):
    """read(q(z | x)), a list of arrays, of all stored images, on the host."""

    def of_batch(x):
        with trained.model.evaluating():
            return read(posterior(trained.model, x))

    return trained.in_batches(of_batch, images)
