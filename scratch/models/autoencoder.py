"""An autoencoder is an encoder, a bottleneck and a decoder. The systems differ only in the bottleneck.

assemble.py puts the parts together.
"""

from dataclasses import dataclass

import numpy as np

from data_utils import to_float
from scratch.arrays import array_module, each
from scratch.bottlenecks.vector_quantizer import code_counts
from scratch.models.model import Model
from scratch.module import elementwise
from scratch.options.errors import InputError
from scratch.schedules import Schedule


def weighted_sum(*terms_and_weights):
    """Σ weight · term. The arguments are all terms, then all weights."""
    count = len(terms_and_weights) // 2
    terms, weights = terms_and_weights[:count], terms_and_weights[count:]
    return sum(weight * term for term, weight in zip(terms, weights, strict=True))


@dataclass(frozen=True)
class Passes:
    """What an evaluation of images x computed, for whatever measures it.

    features         the encoder's, of x
    noise            the bottleneck's, of the latents that the loss drew
    output           the decoder's, of these latents; None where they are not those of x (with a corruption), or where
                     the decoder was given something else (bottleneck.decodes_latents)
    reconstruction   reconstruct(x)
    """

    features: object
    noise: object
    output: object
    reconstruction: object


def squared_errors(model, x, passes):
    """[(N,)]: the squared error of each image's deterministic reconstruction, summed over its numbers."""
    error = passes.reconstruction - x
    return [(error * error).reshape(len(x), -1).sum(axis=1)]


class Autoencoder(Model):
    """output = decoder(bottleneck(encoder(x))),   loss = Σ weights[name] · term[name].

    The terms are the reconstruction loss and those that the bottleneck adds. Each is summed over an example and
    averaged over the batch. A weight is a number or a schedule (schedules.py). Images x are (N, H, W, C) in [0, 1].
    With a corruption (corruption.py) the encoder receives a corrupted x; the reconstruction loss still compares with x.
    backward runs the same parts in the opposite order, from ∂loss/∂term = weights[name].
    """

    has_images = True
    total = elementwise(weighted_sum)

    def __init__(self, encoder, bottleneck, decoder, reconstruction, weights, corruption=None):
        self.encoder, self.bottleneck, self.decoder = encoder, bottleneck, decoder
        self.reconstruction, self.corruption = reconstruction, corruption
        self.schedules = {name: Schedule(weight) for name, weight in weights.items()}
        for layer in self.encoder.layers:  # ∂L/∂image is not needed
            layer.needs_input_gradient = False
            if layer.named_parameters():
                break
        self.at_step(0)

    def at_step(self, step):
        """Set everything that follows a schedule to its value at this step, counted from 0 over the whole run."""
        self.step = step
        self.weights = {name: schedule(step) for name, schedule in self.schedules.items()}
        self.bottleneck.at_step(step)

    @property
    def random(self):
        """Does forward take noise?"""
        return self.bottleneck.random or self.corruption is not None

    def draw_noise(self, count, rng, corruption_rng=None):
        """The noise that forward takes for `count` images: the bottleneck's, or None if nothing is random.

        With a corruption it is a list: the corruption's noise, then the bottleneck's if that is random. The bottleneck
        draws first, as it does without a corruption. The corruption draws from `corruption_rng`, if that is given. With
        two generators, neither's noise depends on how many images are drawn for at a time.
        """
        noise = self.bottleneck.draw_noise(count, rng)
        if self.corruption is None:
            return noise
        corrupting = self.corruption.draw_noise(count, corruption_rng or rng)
        return [corrupting] if noise is None else [corrupting, noise]

    def corrupted(self, x, noise):
        """(the encoder's input, the bottleneck's noise)."""
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
        return self.weighted(terms), terms

    def weighted(self, terms):
        """Σ weights[name] · term[name]."""
        return self.total(*terms.values(), *(self.weights[name] for name in terms))

    def backward(self, scale=1.0):
        """Adds scale · ∂loss/∂parameter to the gradient of every parameter, for the loss last computed."""
        dterms = {name: scale * weight for name, weight in self.weights.items()}
        doutput = self.reconstruction.backward(dterms["reconstruction"])
        dy = self.decoder.backward(doutput)
        dh = self.bottleneck.backward(dy, dterms)
        self.encoder.backward(dh)

    def inputs(self, stored, dtype):
        """Stored images as floats in [0, 1]."""
        return to_float(stored, dtype)

    def observed(self):
        """({name: scalar}, {level: code counts}) of the last loss: what the bottleneck and the likelihood report beside
        the terms, and how often each code was chosen."""
        bottleneck = self.bottleneck
        grids = {} if bottleneck.indices is None else bottleneck.by_codebook(bottleneck.indices)
        counts = {level: code_counts(indices, bottleneck.codes) for level, indices in grids.items()}
        return {**bottleneck.measured, **self.reconstruction.measured}, counts

    @property
    def moves(self):
        return self.bottleneck.moves

    @property
    def chooses(self):
        return self.bottleneck.chooses

    @property
    def prepared_from(self):
        return 0 if self.ready else self.bottleneck.prepared_from

    def prepare(self, batches, rng):
        """Prepare the bottleneck with the first batches of images. Some codebooks start from them.

        The features are computed in training mode, because a norm's running statistics hold no images yet.
        """
        features = [self.train().encoder.forward(x) for x in batches]
        with self.evaluating():
            self.bottleneck.prepare(features, rng)
        self.ready = True

    def draw_choices(self, rng):
        return self.bottleneck.draw_choices(rng)

    def update(self, choices=None):
        self.bottleneck.update(choices)

    def evaluate(self, x, noise=None, measure=squared_errors):
        """(loss, terms, measured) of images, of a model in evaluation mode.

        `measured` is a list of arrays (N, …) that measure(model, x, Passes) returns. The encoder and the decoder see
        nothing twice: where nothing is random, the loss is that of the deterministic reconstruction.
        """
        seen, noise = self.corrupted(x, noise)
        h = self.encoder.forward(seen)
        y, terms = self.bottleneck.forward(h, noise)
        output = self.decoder.forward(y)
        terms = {"reconstruction": self.reconstruction.loss(output, x), **terms}
        if self.random or not self.bottleneck.decodes_latents:
            h = h if self.corruption is None else self.encoder.forward(x)
            reconstruction = self.decode(self.bottleneck.encode(h))
        else:
            reconstruction = self.reconstruction.mean(output)
        drawn = output if self.corruption is None and self.bottleneck.decodes_latents else None
        return self.weighted(terms), terms, measure(self, x, Passes(h, noise, drawn, reconstruction))

    def encode(self, x):
        """The latent of each image: the AE's z (N, Z), the VAE's mean μ (N, Z), code indices (N, I, J) of the VQ-VAE
        and the dVAE, or the VQ-VAE-2's two grids of them, the list [top (N, I, J), bottom (N, 2I, 2J)]. With G groups
        of codes a grid is (N, I, J, G)."""
        with self.evaluating():
            return self.bottleneck.encode(self.encoder.forward(x))

    def decode(self, latents):
        """The images (N, H, W, C) of latents, without randomness."""
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

        Raises InputError unless the code is random, as it is in the VAE and the dVAE.
        """
        if not self.bottleneck.random:
            raise InputError("variations need a code that is drawn at random: name a run of vae or dvae.")
        with self.evaluating():
            h, draws = self.encoder.forward(x), []
            for _ in range(count):
                noise = array_module(x).asarray(self.bottleneck.draw_noise(len(x), rng))
                draws.append(self.decode(self.bottleneck.draw(h, noise)))
        return array_module(x).stack(draws, axis=1)

    def interpolate(self, a, b, steps):
        """(N, steps, H, W, C): images decoded from latents between those of a and those of b, both included."""
        start, end = self.encode(a), self.encode(b)
        with self.evaluating():
            images = [self.decode(self.bottleneck.mix(start, end, float(t))) for t in np.linspace(0, 1, steps)]
        return array_module(a).stack(images, axis=1)
