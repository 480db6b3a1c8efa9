"""Free bits: the first nats of each latent dimension cost nothing, so giving up a dimension saves nothing."""

from scratch.arrays import array_module
from scratch.bottlenecks.gaussian import GaussianBottleneck, gaussian_kl, gaussian_kl_backward
from scratch.layers.checks import check_floating
from scratch.module import Module, elementwise
from scratch.options.option import Option, Real


class FreeBits(Module):
    """kl_free = Σⱼ max(free_bits, klⱼ), beside kl = Σⱼ klⱼ. klⱼ is the KL of dimension j, averaged over the batch:

        klⱼ = (1/N) Σₙ ½ (μₙⱼ² + σₙⱼ² − 1 − log σₙⱼ²)

    in nats. Shapes: mu, logvar (N, Z), kl and kl_free scalars.

        ∂L/∂klⱼ = ∂L/∂kl + ∂L/∂kl_free · [klⱼ > free_bits]
        ∂L/∂μₙⱼ = ∂L/∂klⱼ · μₙⱼ / N       ∂L/∂logvarₙⱼ = ∂L/∂klⱼ · ½ (σₙⱼ² − 1) / N

    The examples of a batch are coupled: whether klⱼ is above free_bits depends on all of them. So kl_free of a
    batch is not the mean of kl_free of its two halves. (Kingma et al. 2016, arXiv:1606.04934, appendix C.8;
    docs/reference/kl_variants.md)
    """

    formula, derivative = elementwise(gaussian_kl), elementwise(gaussian_kl_backward)

    def __init__(self, nats):
        self.nats = nats

    def forward(self, mu, logvar):
        check_floating(self, mu, logvar)
        kl = self.batch.mean(self.formula(mu, logvar).sum(axis=0) / len(mu), len(mu))
        self.save(mu, logvar, (kl > self.nats).astype(mu.dtype))
        return kl.sum(), array_module(kl).maximum(kl, self.nats).sum()

    def backward(self, dkl, dfree):
        mu, logvar, above = self.recall()
        return self.derivative(mu, logvar, (dkl + dfree * above) / len(mu))


class FreeBitsBottleneck(GaussianBottleneck):
    """A GaussianBottleneck with free nats in each dimension.

    Its terms are kl, which is only reported, and kl_free, which the loss weighs by β.
    """

    options = (
        Option("free_bits", Real(0), 0.0, "nats of KL that cost nothing in each latent dimension",
               source="arXiv:1606.04934"),
    )

    def __init__(self, feature_shape, latent_dim, free_bits, **settings):
        super().__init__(feature_shape, latent_dim, **settings)
        self.kl = FreeBits(free_bits)

    @classmethod
    def applies(cls, options):
        return options["free_bits"] > 0

    @classmethod
    def build(cls, around, options, *, dtype, rng):
        return cls(around.shape, options["latent_dim"], options["free_bits"], dtype=dtype, rng=rng)

    def weights(self, image_shape, options):
        return {"reconstruction": 1.0, "kl": 0.0, "kl_free": options["beta"]}

    def rate(self, mu, logvar):
        kl, kl_free = self.kl.forward(mu, logvar)
        return {"kl": kl, "kl_free": kl_free}

    def rate_backward(self, dterms):
        return self.kl.backward(dterms["kl"], dterms["kl_free"])
