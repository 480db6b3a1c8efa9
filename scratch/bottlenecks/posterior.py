"""The posterior q(z | x) and the prior p(z): what a bottleneck's `posterior(h)` returns.

    kl()         (N, Z)           KL(q(z_j | x) ‖ p(z_j)) of each dimension j, in nats; the sum over j is the rate
    draw(noise)  latents, (N,)    z ~ q(z | x) as the decoder takes it, and log p(z) − log q(z | x) of that z

A dimension is one number of a vector z, or one position in a grid of codes; Z is how many there are.
docs/reference/instruments.md explains what the KL says about a model. Each bottleneck's file defines its own posterior.
"""


class Posterior:
    """The posterior of a batch of images.

    varies     False if the rate is the same for every image
    gaussian   True for a diagonal Gaussian with the prior N(0, 1); `mu` and `logvar`, each (N, Z), are its attributes
    """

    varies = True
    gaussian = False

    def kl(self):
        raise NotImplementedError

    def draw(self, noise=None):
        raise NotImplementedError
