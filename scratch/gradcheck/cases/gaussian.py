"""The VAE's bottleneck, its parts and its variants."""

from scratch import bottlenecks
from scratch.gradcheck.cases.case import add, away_from_zero, bottleneck, normal, of_bottleneck, of_forward
from scratch.gradcheck.differences import of_module


def reparameterize(case, rng):
    """z = Reparameterize(mu, logvar, eps)."""
    module = bottlenecks.Reparameterize()
    mu, logvar, eps = (normal(case.shape, rng) for _ in range(3))
    return of_forward(module, {"mu": mu, "logvar": logvar}, "z", {"eps": eps},
                      {"eps": lambda rng: normal(case.shape, rng)})


def gaussian_kl(case, rng):
    """kl = GaussianKL(mu, logvar)."""
    module = bottlenecks.GaussianKL()
    mu, logvar = normal(case.shape, rng), normal(case.shape, rng)
    return of_forward(module, {"mu": mu, "logvar": logvar}, "kl")


def clear_of(kink, mu, logvar):
    """Is the mean KL of every latent dimension at least 0.01 away from `kink`? A step moves it by about 1e-5."""
    k = bottlenecks.GaussianKL.formula(mu, logvar).mean(axis=0)
    return abs(k - kink).min() > 0.01


def free_bits(case, rng):
    """kl, kl_free = FreeBits(mu, logvar)."""
    module = bottlenecks.FreeBits(**case.arguments)
    mu, logvar = normal(case.shape, rng), normal(case.shape, rng)
    while not clear_of(module.nats, mu, logvar):
        mu, logvar = normal(case.shape, rng), normal(case.shape, rng)
    names = ("kl", "kl_free")
    return of_module(
        module,
        {"mu": mu, "logvar": logvar},
        lambda: dict(zip(names, module.forward(mu, logvar), strict=True)),
        lambda upstream: module.backward(*(upstream[name] for name in names)),
    )


def capacity_target(case, rng):
    """gap = CapacityTarget(kl), of several kl at once, on either side of the capacity and none of them near it."""
    module = bottlenecks.CapacityTarget(**case.arguments)
    kl = module.capacity + away_from_zero(case.shape, rng)
    return of_forward(module, {"kl": kl}, "gap")


def free_bits_bottleneck(case, rng):
    """y, terms = FreeBitsBottleneck(h, noise), the KL of each dimension away from its kink."""
    return of_bottleneck(case, rng, lambda module, h: clear_of(module.kl.nats, *module.parameters_of(h)))


add(reparameterize, "Reparameterize", (4, 3))
add(gaussian_kl, "GaussianKL", (4, 3))
add(free_bits, "FreeBits", (4, 6), dict(nats=0.8))
add(capacity_target, "CapacityTarget", (4,), dict(capacity=2.0))
add(bottleneck, "GaussianBottleneck", (3, 2, 2, 4), dict(feature_shape=(2, 2, 4), latent_dim=5))
add(
    free_bits_bottleneck, "FreeBitsBottleneck", (3, 2, 2, 4),
    dict(feature_shape=(2, 2, 4), latent_dim=5, free_bits=0.2),
)
add(
    bottleneck, "CapacityBottleneck", (3, 2, 2, 4),
    dict(feature_shape=(2, 2, 4), latent_dim=5, capacity=0.5),
    dict(feature_shape=(2, 2, 4), latent_dim=5, capacity=5.0),
)
