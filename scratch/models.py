"""An autoencoder is an encoder, a bottleneck and a decoder, and one system differs from the next in the bottleneck.

Read `Autoencoder` first, then `build`, which puts together the three systems that the bottlenecks make of it.
"""

import math
from contextlib import contextmanager

import numpy as np

from scratch.arrays import array_module
from scratch.bottlenecks import DenseBottleneck, GaussianBottleneck, VectorQuantizedBottleneck
from scratch.layers import Conv2d, ConvTranspose2d, ReLU, Sigmoid
from scratch.losses import LIKELIHOODS
from scratch.module import Module, Sequential


class Autoencoder(Module):
    """output = decoder(bottleneck(encoder(x))),   loss = Σ weights[name] · term[name].

    The terms are the reconstruction loss and whatever the bottleneck adds; each is summed over an example and
    averaged over the batch. Images x are (N, H, W, C) in [0, 1].
    """

    def __init__(self, encoder, bottleneck, decoder, reconstruction, weights):
        self.encoder, self.bottleneck, self.decoder = encoder, bottleneck, decoder
        self.reconstruction = reconstruction
        self.weights = weights
        self.encoder.layers[0].needs_input_gradient = False

    def forward(self, x, noise=None):
        """(output, terms): the decoder's output and the bottleneck's loss terms."""
        h = self.encoder.forward(x)
        y, terms = self.bottleneck.forward(h, noise)
        return self.decoder.forward(y), terms

    def loss(self, x, noise=None):
        """(loss, terms): scalars that stay on the device."""
        output, terms = self.forward(x, noise)
        terms = {"reconstruction": self.reconstruction.loss(output, x), **terms}
        return sum(self.weights[name] * term for name, term in terms.items()), terms

    def backward(self, scale=1.0):
        """Adds scale · ∂loss/∂parameter to the gradient of every parameter, for the loss last computed."""
        dterms = {name: scale * weight for name, weight in self.weights.items()}
        doutput = self.reconstruction.backward(dterms["reconstruction"])
        dy = self.decoder.backward(doutput)
        dh = self.bottleneck.backward(dy, dterms)
        self.encoder.backward(dh)

    @contextmanager
    def evaluating(self):
        """Evaluation mode for the duration of a `with` block."""
        training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(training)

    def encode(self, x):
        """The latent of each image: the AE's z (N, Z), the VAE's mean μ (N, Z), the VQ-VAE's code indices (N, h, w)."""
        with self.evaluating():
            return self.bottleneck.encode(self.encoder.forward(x))

    def decode(self, latents):
        """The image that each latent stands for."""
        with self.evaluating():
            return self.reconstruction.mean(self.decoder.forward(self.bottleneck.decode(latents)))

    def reconstruct(self, x):
        """decode(encode(x)): deterministic, from the VAE's mean."""
        return self.decode(self.encode(x))

    def sample(self, count, prior, rng):
        """`count` new images, decoded from latents that `prior` (see priors.py) draws."""
        like = next(iter(self.named_state().values())).value
        return self.decode(array_module(like).asarray(prior.draw(count, rng, like.dtype)))

    def variations(self, x, count, rng):
        """(N, count, H, W, C): each image decoded from `count` draws z ~ q(z | x), on the device of x.

        Only the VAE's code is random; the others raise ValueError.
        """
        if not isinstance(self.bottleneck, GaussianBottleneck):
            raise ValueError("variations need a code that is drawn at random, as the VAE's is; this model's is not")
        with self.evaluating():
            mu, logvar = self.bottleneck.posterior(self.encoder.forward(x))
            draws = []
            for _ in range(count):
                eps = array_module(x).asarray(self.bottleneck.draw_noise(len(x), rng))
                draws.append(self.decode(self.bottleneck.reparameterize.forward(mu, logvar, eps)))
        return array_module(x).stack(draws, axis=1)

    def interpolate(self, a, b, steps):
        """(N, steps, H, W, C): images decoded from latents on the way from those of a to those of b, both included."""
        start, end = self.encode(a), self.encode(b)
        with self.evaluating():
            images = [self.decode(self.bottleneck.mix(start, end, float(t))) for t in np.linspace(0, 1, steps)]
        return array_module(a).stack(images, axis=1)


def halvings(height, width, at_most):
    """How often both sides of an image can be halved exactly, up to `at_most` times."""
    count = 0
    while count < at_most and height % 2 ** (count + 1) == 0 and width % 2 ** (count + 1) == 0:
        count += 1
    if count == 0:
        raise ValueError(f"images of {height}×{width} cannot be halved: both sides have to be even")
    return count


def convolutions(image_shape, channels, sigmoid, dtype, rng):
    """(encoder, decoder, feature shape): a convolution of kernel 4, stride 2, padding 1 and a ReLU for each halving.

    The decoder mirrors the encoder with transposed convolutions; its last layer is followed by a sigmoid, or by
    nothing where the output is logits. Of `channels` the first are used, one for each halving.
    """
    H, W, C = image_shape
    widths = (C, *channels[: halvings(H, W, len(channels))])
    settings = dict(kernel_size=4, stride=2, padding=1, dtype=dtype, rng=rng)
    down, up = [], []
    for fewer, more in zip(widths, widths[1:], strict=False):
        down += [Conv2d(fewer, more, **settings), ReLU()]
        up = [ConvTranspose2d(more, fewer, **settings), ReLU(), *up]
    up[-1:] = [Sigmoid()] if sigmoid else []
    scale = 2 ** (len(widths) - 1)
    return Sequential(*down), Sequential(*up), (H // scale, W // scale, widths[-1])


def build(model, image_shape, options, *, dtype=np.float32, rng=None):
    """The system `model` ("ae", "vae" or "vqvae") for images of `image_shape` (H, W, C).

    `options` holds the entries of a preset that the model reads (presets.py) and `likelihood`. The AE and the VAE
    weigh their terms as they come, per example; the VQ-VAE, as in its published recipes, averages each of its terms
    over elements instead, which is a weight of one over their number.
    """
    rng = rng or np.random.default_rng()
    reconstruction = LIKELIHOODS[options["likelihood"]]()
    sigmoid = options["likelihood"] == "squared_error"
    encoder, decoder, features = convolutions(image_shape, options["channels"], sigmoid, dtype, rng)
    if model == "ae":
        bottleneck = DenseBottleneck(features, options["latent_dim"], dtype=dtype, rng=rng)
        weights = {"reconstruction": 1.0}
    elif model == "vae":
        bottleneck = GaussianBottleneck(features, options["latent_dim"], dtype=dtype, rng=rng)
        weights = {"reconstruction": 1.0, "kl": options["beta"]}
    elif model == "vqvae":
        codes, code_dim = options["codes"], options["code_dim"]
        init = options["codebook_init"]
        bottleneck = VectorQuantizedBottleneck(features, codes, code_dim, init, dtype=dtype, rng=rng)
        latent_elements = features[0] * features[1] * code_dim
        weights = {
            "reconstruction": 1 / math.prod(image_shape),
            "codebook": 1 / latent_elements,
            "commitment": options["commitment"] / latent_elements,
        }
    else:
        raise ValueError(f"unknown model {model!r}: ae, vae or vqvae")
    return Autoencoder(encoder, bottleneck, decoder, reconstruction, weights)
