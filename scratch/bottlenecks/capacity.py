"""A capacity target: the KL of the code is kept near so many nats, which may rise during training."""

from scratch.arrays import array_module
from scratch.bottlenecks.gaussian import GaussianBottleneck
from scratch.layers.checks import check_floating
from scratch.module import Module
from scratch.options.option import Option, Scheduled
from scratch.schedules import Schedule


class CapacityTarget(Module):
    """gap = |kl − capacity|, in nats, where the capacity is a number or a schedule.

    Shapes: kl and gap are scalars.

        ∂L/∂kl = ∂L/∂gap · sign(kl − capacity)       0 at kl = capacity, where gap has a kink

    kl is the mean over the batch, as in the paper. So the KL of some examples may be above the capacity while that of
    others is below it, and all receive a gradient in the same direction.
    (Burgess et al. 2018, arXiv:1804.03599; docs/reference/kl_variants.md)
    """

    def __init__(self, capacity):
        self.schedule = Schedule(capacity)
        self.at_step(0)

    def at_step(self, step):
        self.capacity = self.schedule(step)

    def forward(self, kl):
        check_floating(self, kl)
        excess = kl - self.capacity
        self.save(excess)
        return abs(excess)

    def backward(self, dgap=1.0):
        (excess,) = self.recall()
        return array_module(excess).sign(excess) * dgap


class CapacityBottleneck(GaussianBottleneck):
    """A GaussianBottleneck with a target for its KL, which couples the examples of a batch.

    Its terms are kl, which is only reported, and kl_gap = |kl − capacity|, which the loss weighs by β.
    """

    options = (
        Option("capacity", Scheduled(0), None, "target of the KL in nats, in place of 0",
               source="arXiv:1804.03599"),
    )

    def __init__(self, feature_shape, latent_dim, capacity, **settings):
        super().__init__(feature_shape, latent_dim, **settings)
        self.target = CapacityTarget(capacity)

    @classmethod
    def applies(cls, options):
        return options["capacity"] is not None

    @classmethod
    def build(cls, around, options, *, dtype, rng):
        return cls(around.shape, options["latent_dim"], options["capacity"], dtype=dtype, rng=rng)

    def weights(self, image_shape, options):
        return {"reconstruction": 1.0, "kl": 0.0, "kl_gap": options["beta"]}

    def at_step(self, step):
        self.target.at_step(step)

    def rate(self, mu, logvar):
        kl = self.batch.mean(self.kl.forward(mu, logvar), len(mu))
        return {"kl": kl, "kl_gap": self.target.forward(kl)}

    def rate_backward(self, dterms):
        return self.kl.backward(dterms["kl"] + self.target.backward(dterms["kl_gap"]))
