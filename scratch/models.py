"""An autoencoder is an encoder, a bottleneck and a decoder, and one system differs from the next in the bottleneck.

Read `Autoencoder` first, then `build`, which puts together the systems that the bottlenecks make of it.
"""

import math
from contextlib import contextmanager

import numpy as np

from scratch.arrays import array_module
from scratch.bottlenecks import (
    DenseBottleneck,
    GaussianBottleneck,
    GumbelSoftmaxBottleneck,
    VectorQuantizedBottleneck,
)
from scratch.layers import Conv2d, ConvTranspose2d, ReLU, Sigmoid
from scratch.losses import LIKELIHOODS
from scratch.module import Module, Sequential
from scratch.schedules import Schedule


class Autoencoder(Module):
    """output = decoder(bottleneck(encoder(x))),   loss = Σ weights[name] · term[name].

    The terms are the reconstruction loss and whatever the bottleneck adds; each is summed over an example and
    averaged over the batch. A weight is a number or a schedule (schedules.py). Images x are (N, H, W, C) in [0, 1].
    """

    def __init__(self, encoder, bottleneck, decoder, reconstruction, weights):
        self.encoder, self.bottleneck, self.decoder = encoder, bottleneck, decoder
        self.reconstruction = reconstruction
        self.schedules = {name: Schedule(weight) for name, weight in weights.items()}
        self.encoder.layers[0].needs_input_gradient = False
        self.at_step(0)

    def at_step(self, step):
        """Give all that follows a schedule its value for one step of training, counted from 0 over the whole run."""
        self.step = step
        self.weights = {name: schedule(step) for name, schedule in self.schedules.items()}
        self.bottleneck.at_step(step)

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
        """Evaluation mode for the duration of a `with` block; every schedule then is at its end."""
        training, step = self.training, self.step
        self.eval()
        self.at_step(math.inf)
        try:
            yield
        finally:
            self.at_step(step)
            self.train(training)

    def encode(self, x):
        """The latent of each image: the AE's z (N, Z), the VAE's mean μ (N, Z), the others' code indices (N, h, w)."""
        with self.evaluating():
            return self.bottleneck.encode(self.encoder.forward(x))

    def decode(self, latents):
        """The image that each latent stands for."""
        with self.evaluating():
            return self.reconstruction.mean(self.decoder.forward(self.bottleneck.decode(latents)))

    def reconstruct(self, x):
        """decode(encode(x)): deterministic, from the VAE's mean or the dVAE's most probable codes."""
        return self.decode(self.encode(x))

    def sample(self, count, prior, rng):
        """`count` new images, decoded from latents that `prior` (see priors.py) draws."""
        like = next(iter(self.named_state().values())).value
        return self.decode(array_module(like).asarray(prior.draw(count, rng, like.dtype)))

    def variations(self, x, count, rng):
        """(N, count, H, W, C): each image decoded from `count` draws z ~ q(z | x), on the device of x.

        Raises ValueError where the code is not random, as the VAE's and the dVAE's are.
        """
        if not self.bottleneck.random:
            raise ValueError("variations need a code that is drawn at random, as the VAE's is; this model's is not")
        with self.evaluating():
            h, draws = self.encoder.forward(x), []
            for _ in range(count):
                noise = array_module(x).asarray(self.bottleneck.draw_noise(len(x), rng))
                draws.append(self.decode(self.bottleneck.draw(h, noise)))
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


def convolutions(image_shape, channels, outputs, sigmoid, dtype, rng):
    """(encoder, decoder, feature shape): a convolution of kernel 4, stride 2, padding 1 and a ReLU for each halving.

    The decoder mirrors the encoder with transposed convolutions; its last layer has `outputs` channels for each of the
    image and is followed by a sigmoid, or by nothing where the output is logits. Of `channels` the first are used, one
    for each halving.
    """
    H, W, C = image_shape
    widths = (C, *channels[: halvings(H, W, len(channels))])
    settings = dict(kernel_size=4, stride=2, padding=1, dtype=dtype, rng=rng)
    down, up = [], []
    for fewer, more in zip(widths, widths[1:], strict=False):
        down += [Conv2d(fewer, more, **settings), ReLU()]
        up = [ConvTranspose2d(more, fewer if up else outputs * C, **settings), ReLU(), *up]
    up[-1:] = [Sigmoid()] if sigmoid else []
    scale = 2 ** (len(widths) - 1)
    return Sequential(*down), Sequential(*up), (H // scale, W // scale, widths[-1])


def dense(features, image_shape, options, **settings):
    """The AE's bottleneck and the weights of its terms."""
    return DenseBottleneck(features, options["latent_dim"], **settings), {"reconstruction": 1.0}


def gaussian(features, image_shape, options, **settings):
    """The VAE's: both terms as they come, summed per example, so that beta = 1 is the ELBO."""
    bottleneck = GaussianBottleneck(features, options["latent_dim"], **settings)
    return bottleneck, {"reconstruction": 1.0, "kl": options["beta"]}


def vector_quantized(features, image_shape, options, **settings):
    """The VQ-VAE's. Its recipes average each term over elements: a weight of one over their number."""
    bottleneck = VectorQuantizedBottleneck(
        features, options["codes"], options["code_dim"], options["codebook_init"], **settings)
    latent_elements = features[0] * features[1] * options["code_dim"]
    return bottleneck, {
        "reconstruction": 1 / math.prod(image_shape),
        "codebook": 1 / latent_elements,
        "commitment": options["commitment"] / latent_elements,
    }


def gumbel_softmax(features, image_shape, options, **settings):
    """The dVAE's: both terms as they come, summed per example, so that a KL weight of 1 is the ELBO."""
    bottleneck = GumbelSoftmaxBottleneck(
        features, options["codes"], options["code_dim"], options["codebook_init"], options["temperature"],
        options["hard"], **settings)
    return bottleneck, {"reconstruction": 1.0, "kl": options["kl_weight"]}


SYSTEMS = {"ae": dense, "vae": gaussian, "vqvae": vector_quantized, "dvae": gumbel_softmax}


def build(model, image_shape, options, *, dtype=np.float32, rng=None):
    """The system `model`, a key of SYSTEMS, for images of `image_shape` (H, W, C).

    `options` holds the entries of a preset that the model reads (presets.py) and `likelihood`.
    """
    if model not in SYSTEMS:
        raise ValueError(f"unknown model {model!r}: {', '.join(SYSTEMS)}")
    rng = rng or np.random.default_rng()
    reconstruction = LIKELIHOODS[options["likelihood"]]()
    sigmoid = options["likelihood"] == "squared_error"
    encoder, decoder, features = convolutions(
        image_shape, options["channels"], reconstruction.outputs, sigmoid, dtype, rng)
    bottleneck, weights = SYSTEMS[model](features, image_shape, options, dtype=dtype, rng=rng)
    return Autoencoder(encoder, bottleneck, decoder, reconstruction, weights)
