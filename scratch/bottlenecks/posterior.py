"""q(z | x) beside the prior p(z): what a bottleneck's `posterior(h)` gives.

    kl()         (N, D)           KL(q(z_j | x) ‖ p(z_j)) of each dimension j, in nats; their sum is the rate
    draw(noise)  latents, (N,)    z ~ q(z | x) as the decoder takes it, and log p(z) − log q(z | x) of that z

A dimension is a number of a vector z, or a position in a grid of codes. docs/instruments.md says what the KL tells.
Each bottleneck has its posterior beside it; here is what they share.
"""


class Posterior:
    """The posterior of a batch of images.

    varies     False where the rate is the same for every image
    gaussian   True of a diagonal Gaussian with the prior N(0, I), which has its `mu` and `logvar`, each (N, Z)
    """

    varies = True
    gaussian = False

    def kl(self):
        raise NotImplementedError

    def draw(self, noise=None):
        raise NotImplementedError
