"""An autoencoder is an encoder, a bottleneck and a decoder, and one system differs from the next in the bottleneck.

Read `Autoencoder` first, then `build`, which puts together the systems that the bottlenecks make of it.
"""

import math
from contextlib import contextmanager
from functools import partial

import numpy as np

from scratch.arrays import array_module, each
from scratch.bottlenecks import (
    CapacityBottleneck,
    CuredVectorQuantizer,
    DenseBottleneck,
    FreeBitsBottleneck,
    GaussianBottleneck,
    GumbelSoftmaxBottleneck,
    ReversedVectorQuantizer,
    SparseBottleneck,
    TwoLevelBottleneck,
    VectorQuantizedBottleneck,
    VectorQuantizer,
)
from scratch.bottlenecks.bottleneck import level_name
from scratch.elementwise import elementwise
from scratch.layers.initialisation import initialise_truncated_normal
from scratch.losses import LIKELIHOODS
from scratch.models.corruption import CORRUPTIONS, read_corruption
from scratch.module import Module
from scratch.networks.convolutional import convolutions, halvings, linear, mlp, outer_channels, pooling, residual
from scratch.options.presets import CODEBOOK
from scratch.schedules import Schedule


def weighted_sum(*terms_and_weights):
    """Σ weight · term, given all terms and then all weights."""
    count = len(terms_and_weights) // 2
    terms, weights = terms_and_weights[:count], terms_and_weights[count:]
    return sum(weight * term for term, weight in zip(terms, weights, strict=True))


class Autoencoder(Module):
    """output = decoder(bottleneck(encoder(x))),   loss = Σ weights[name] · term[name].

    The terms are the reconstruction loss and whatever the bottleneck adds; each is summed over an example and
    averaged over the batch. A weight is a number or a schedule (schedules.py). Images x are (N, H, W, C) in [0, 1].
    With a corruption (corruption.py) the encoder sees a corrupted x; the reconstruction loss still compares with x.
    """

    total = elementwise(weighted_sum)

    def __init__(self, encoder, bottleneck, decoder, reconstruction, weights, corruption=None):
        self.encoder, self.bottleneck, self.decoder = encoder, bottleneck, decoder
        self.reconstruction, self.corruption = reconstruction, corruption
        self.schedules = {name: Schedule(weight) for name, weight in weights.items()}
        for layer in self.encoder.layers:  # nobody asks for ∂L/∂image
            layer.needs_input_gradient = False
            if layer.named_parameters():
                break
        self.at_step(0)

    def at_step(self, step):
        """Give all that follows a schedule its value for one step of training, counted from 0 over the whole run."""
        self.step = step
        self.weights = {name: schedule(step) for name, schedule in self.schedules.items()}
        self.bottleneck.at_step(step)

    @property
    def random(self):
        """Does forward take noise?"""
        return self.bottleneck.random or self.corruption is not None

    def draw_noise(self, count, rng, corruption_rng=None):
        """The noise that forward takes for `count` images: the bottleneck's, or None where nothing is random.

        With a corruption it is a list: the corruption's, and after it the bottleneck's where that one is random. The
        bottleneck draws first, as it would alone, and the corruption then from a generator of its own where one is
        given: then neither's noise depends on how many images are drawn for at a time.
        """
        noise = self.bottleneck.draw_noise(count, rng)
        if self.corruption is None:
            return noise
        corrupting = self.corruption.draw_noise(count, corruption_rng or rng)
        return [corrupting] if noise is None else [corrupting, noise]

    def corrupted(self, x, noise):
        """(what the encoder sees of x, the noise that is left for the bottleneck)."""
        if self.corruption is None:
            return x, noise
        corrupting, *rest = [None] if noise is None else noise
        return self.corruption.forward(x, corrupting), (rest[0] if rest else None)

    def forward(self, x, noise=None):
        """(output, terms): the decoder's output and the bottleneck's loss terms."""
        seen, noise = self.corrupted(x, noise)
        h = self.encoder.forward(seen)
        y, terms = self.bottleneck.forward(h, noise)
        return self.decoder.forward(y), terms

    def loss(self, x, noise=None):
        """(loss, terms): scalars that stay on the device."""
        output, terms = self.forward(x, noise)
        terms = {"reconstruction": self.reconstruction.loss(output, x), **terms}
        return self.total(*terms.values(), *(self.weights[name] for name in terms)), terms

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
        """The latent of each image: the AE's z (N, Z), the VAE's mean μ (N, Z), code indices (N, h, w) of the VQ-VAE
        and the dVAE, or the VQ-VAE-2's two grids of them, the list [top (N, h, w), bottom (N, 2h, 2w)]."""
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
        return self.decode(each(array_module(like).asarray, prior.draw(count, rng, like.dtype)))

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


def dense(features, image_shape, options, **settings):
    """The AE's bottleneck and the weights of its terms; the sparse one where the options weigh sparsity."""
    if not options.get("sparsity"):
        return DenseBottleneck(features, options["latent_dim"], **settings), {"reconstruction": 1.0}
    bottleneck = SparseBottleneck(features, options["latent_dim"], **settings)
    return bottleneck, {"reconstruction": 1.0, "l1": options["sparsity"]}


def gaussian(features, image_shape, options, **settings):
    """The VAE's: both terms as they come, summed per example, so that beta = 1 is the ELBO.

    With free bits or a capacity beta weighs the term that they make of the KL, which itself is only reported.
    """
    latent_dim, beta = options["latent_dim"], options["beta"]
    if options.get("free_bits"):
        bottleneck = FreeBitsBottleneck(features, latent_dim, options["free_bits"], **settings)
        return bottleneck, {"reconstruction": 1.0, "kl": 0.0, "kl_free": beta}
    if options.get("capacity") is not None:
        bottleneck = CapacityBottleneck(features, latent_dim, options["capacity"], **settings)
        return bottleneck, {"reconstruction": 1.0, "kl": 0.0, "kl_gap": beta}
    return GaussianBottleneck(features, latent_dim, **settings), {"reconstruction": 1.0, "kl": beta}


def quantizer(options):
    """What makes the quantizer that the options ask for: the plain one, or one with the cures they name."""
    if options["straight_through"] == "reversed":
        return ReversedVectorQuantizer
    cures = {
        "ema_decay": options["ema_decay"] if options["codebook_update"] == "ema" else None,
        "restart_after": options["restart_after"] or None,
        "entropy_temperature": options["entropy_temperature"] if options["entropy_weight"] else None,
        "cosine": options["code_metric"] == "cosine",
    }
    if options["codebook_init"] == "kmeans" or any(cures.values()):
        return partial(CuredVectorQuantizer, **cures)
    return VectorQuantizer


def vector_quantized(features, image_shape, options, **settings):
    """The VQ-VAE's. Its recipes average each term over elements: a weight of one over their number.

    The published one also divides the squared error by the variance of the data, so that a model which answers every
    image with one and the same grey, the mean of all, has an error of 1.
    """
    options = {**CODEBOOK, **options}
    expand = options.get("network") != "residual"  # the published decoder takes the code vectors
    bottleneck = VectorQuantizedBottleneck(
        features, options["codes"], options["code_dim"], options["codebook_init"], quantizer(options), expand=expand,
        **settings)
    H, W, _ = features
    return bottleneck, {**reconstruction_weight(image_shape, options), **code_weights(H * W, options)}


def two_level(features, image_shape, options, **settings):
    """The VQ-VAE-2's, whose top encoder takes the last of the channels. Each level's terms are weighed as above."""
    options = {**CODEBOOK, **options}
    top_channels = options["channels"][halvings(*image_shape[:2], len(options["channels"])) - 1]
    if options.get("network") == "residual":
        top_channels = options["hidden"]
    bottleneck = TwoLevelBottleneck(
        features, top_channels, options["codes"], options["code_dim"], options["codebook_init"], quantizer(options),
        **settings)
    H, W, _ = features
    weights = reconstruction_weight(image_shape, options)
    for level, positions in (("top", H // 2 * (W // 2)), ("bottom", H * W)):
        of_level = code_weights(positions, options)
        weights |= {level_name(name, level): weight for name, weight in of_level.items()}
    return bottleneck, weights


def reconstruction_weight(image_shape, options):
    """Of a mean over elements, divided by the variance of the data."""
    return {"reconstruction": 1 / (math.prod(image_shape) * options.get("data_variance", 1.0))}


def code_weights(positions, options):
    """Of the terms of a quantizer with so many positions in its grid."""
    latent_elements = positions * options["code_dim"]
    weights = {"commitment": options["commitment"] / latent_elements}
    if options["codebook_update"] == "gradient":
        weights["codebook"] = 1 / latent_elements
    if options["entropy_weight"]:
        weights["entropy_gap"] = options["entropy_weight"]
    return weights


def gumbel_softmax(features, image_shape, options, **settings):
    """The dVAE's: both terms as they come, summed per example, so that a KL weight of 1 is the ELBO."""
    bottleneck = GumbelSoftmaxBottleneck(
        features, options["codes"], options["code_dim"], options["codebook_init"], options["temperature"],
        options["hard"], **settings)
    return bottleneck, {"reconstruction": 1.0, "kl": options["kl_weight"]}


SYSTEMS = {
    "ae": dense, "vae": gaussian, "vqvae": vector_quantized, "vqvae2": two_level, "dvae": gumbel_softmax,
}
HALVINGS_INSIDE = {"vqvae2": 1}  # those of an image's halvings that a system's bottleneck makes


def build(model, image_shape, options, *, dtype=np.float32, rng=None):
    """The system `model`, a key of SYSTEMS, for images of `image_shape` (H, W, C).

    `options` holds the entries of a preset that the model reads (presets.py) and `likelihood`. Runs that are older
    than `network`, `norm`, `data_variance` and `weight_init` have the convolutions without a norm, a variance of 1 and
    uniform weights; those older than `free_bits`, `capacity`, `sparsity` and `corruption` have none of them.
    """
    if model not in SYSTEMS:
        raise ValueError(f"unknown model {model!r}: {', '.join(SYSTEMS)}")
    rng = rng or np.random.default_rng()
    reconstruction = LIKELIHOODS[options["likelihood"]](dtype)
    outputs, is_image = reconstruction.outputs, reconstruction.is_image
    network = options.get("network", "convolution")
    if network == "residual":
        latent_channels = options["code_dim"] if model == "vqvae" else options["hidden"]
        encoder, decoder, features = residual(image_shape, options, latent_channels, outputs, is_image, dtype, rng)
    elif network == "mlp":
        encoder, decoder, features = mlp(image_shape, options["widths"], outputs, is_image, dtype, rng)
    elif network == "linear":
        encoder, decoder, features = linear(image_shape, model, options["likelihood"])
    else:
        channels = outer_channels(image_shape, options["channels"], HALVINGS_INSIDE.get(model, 0))
        encoder, decoder, features = {"convolution": convolutions, "pooling": pooling}[network](
            image_shape, channels, outputs, is_image, options.get("norm", "none"), dtype, rng)
    bottleneck, weights = SYSTEMS[model](features, image_shape, options, dtype=dtype, rng=rng)
    corruption = None
    if options.get("corruption"):
        kind, amount = read_corruption(options["corruption"])
        corruption = CORRUPTIONS[kind](amount, image_shape, dtype=dtype, rng=rng)
    autoencoder = Autoencoder(encoder, bottleneck, decoder, reconstruction, weights, corruption)
    if options.get("weight_init") == "truncated_normal":
        initialise_truncated_normal(autoencoder, rng)
    return autoencoder
