"""The same systems under the same names: `state_dict()` is interchangeable with scratch's, in both directions.

Images and feature maps are NCHW here, as PyTorch has them.
"""

import math
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from torch_ref.losses import LIKELIHOODS, gaussian_kl, kl_to_uniform, vector_quantization
from torch_ref.schedules import scheduled

SEARCH_ROWS = 4096  # latent vectors whose distances to all codes are held at a time


class Bottleneck(nn.Module):
    """forward(h, noise=None) -> (features for the decoder, {name: loss term}); encode and decode are its two halves."""

    indices = None  # the codes chosen by the last forward, where a bottleneck chooses codes

    def draw_noise(self, count, rng, dtype):
        """The noise that forward takes for `count` images, from a NumPy generator; None where nothing is random.

        Where it is a map of features it has NumPy's layout, (N, H, W, C).
        """
        return None

    def draw_choices(self, rng):
        """The random choices that `update` takes, from a NumPy generator; None where it makes none."""
        return None

    def update(self, choices=None):
        """Change what no gradient changes, once the optimiser has made its step from the last forward."""

    def at_step(self, step):
        """Give all that follows a schedule its value for one step of training."""

    def mix(self, a, b, t):
        """A latent on the way from a (t = 0) to b (t = 1)."""
        return torch.lerp(a, b, t)


class DenseBottleneck(Bottleneck):
    """A vector of latent_dim numbers. Shapes: h (N, C, H, W), z (N, latent_dim)."""

    def __init__(self, feature_shape, latent_dim, dtype):
        super().__init__()
        features = math.prod(feature_shape)
        self.reduce = nn.Linear(features, latent_dim, dtype=dtype)
        self.expand = nn.Linear(latent_dim, features, dtype=dtype)
        self.unflatten = nn.Unflatten(1, feature_shape)

    def forward(self, h, noise=None):
        return self.decode(self.encode(h)), {}

    def encode(self, h):
        return self.reduce(h.flatten(1))

    def decode(self, z):
        return self.unflatten(self.expand(z))


class GaussianBottleneck(Bottleneck):
    """A sample z of N(μ(h), σ²(h)), reparameterized, and its KL to N(0, I). Shapes: mu, logvar, z (N, latent_dim)."""

    def __init__(self, feature_shape, latent_dim, dtype):
        super().__init__()
        features = math.prod(feature_shape)
        self.mu = nn.Linear(features, latent_dim, dtype=dtype)
        self.logvar = nn.Linear(features, latent_dim, dtype=dtype)
        self.expand = nn.Linear(latent_dim, features, dtype=dtype)
        self.unflatten = nn.Unflatten(1, feature_shape)

    def draw_noise(self, count, rng, dtype):
        return rng.standard_normal((count, self.mu.out_features), dtype=dtype)

    def posterior(self, h):
        """(μ, σ, log σ²) of q(z | h)."""
        h = h.flatten(1)
        logvar = self.logvar(h)
        return self.mu(h), torch.exp(logvar / 2), logvar

    def draw(self, h, noise):
        """A latent drawn from q(z | h)."""
        mu, sigma, _ = self.posterior(h)
        return mu + sigma * noise

    def forward(self, h, noise=None):
        mu, sigma, logvar = self.posterior(h)
        eps = torch.randn_like(mu) if noise is None else noise
        return self.decode(torch.addcmul(mu, sigma, eps)), {"kl": gaussian_kl(mu, logvar)}

    def encode(self, h):
        return self.mu(h.flatten(1))

    def decode(self, z):
        return self.unflatten(self.expand(z))


def new_codebook(codes, code_dim, init, dtype):
    """A codebook (K, D), filled as `init` says."""
    codebook = torch.empty(codes, code_dim, dtype=dtype)
    if init == "uniform":
        return nn.init.uniform_(codebook, -1 / codes, 1 / codes)
    if init == "normal":
        return nn.init.normal_(codebook)
    if init == "xavier":
        return nn.init.xavier_normal_(codebook)
    raise ValueError(f"a codebook is initialised uniform, normal or xavier, not {init!r}")


class VectorQuantizer(nn.Module):
    """The nearest codebook vector at every position, with the straight-through estimator.

    Shapes: z (N, D, H, W), codebook (K, D), indices (N, H, W).
    """

    def __init__(self, codes, code_dim, init, dtype):
        super().__init__()
        self.codebook = nn.Parameter(new_codebook(codes, code_dim, init, dtype))
        self.indices = None

    def forward(self, z):
        self.indices = self.nearest(z)
        q = self.lookup(self.indices)
        codebook, commitment = vector_quantization(z, q)
        straight_through = z + (q - z).detach()
        return straight_through, {"codebook": codebook, "commitment": commitment}

    @torch.no_grad()
    def nearest(self, z):
        vectors = z.movedim(1, -1)
        rows = vectors.flatten(0, -2).split(SEARCH_ROWS)
        return torch.cat([torch.cdist(row, self.codebook).argmin(1) for row in rows]).view(vectors.shape[:-1])

    def lookup(self, indices):
        return F.embedding(indices, self.codebook).movedim(-1, 1)


class VectorQuantizedBottleneck(Bottleneck):
    """1×1 convolution to code_dim channels, VectorQuantizer, 1×1 convolution back. A latent is a grid of indices."""

    def __init__(self, feature_shape, codes, code_dim, init, dtype):
        super().__init__()
        channels = feature_shape[0]
        self.project = nn.Conv2d(channels, code_dim, 1, dtype=dtype)
        self.quantizer = VectorQuantizer(codes, code_dim, init, dtype)
        self.expand = nn.Conv2d(code_dim, channels, 1, dtype=dtype)

    @property
    def indices(self):
        return self.quantizer.indices

    @property
    def codes(self):
        return len(self.quantizer.codebook)

    def forward(self, h, noise=None):
        q, terms = self.quantizer(self.project(h))
        return self.expand(q), terms

    def encode(self, h):
        return self.quantizer.nearest(self.project(h))

    def decode(self, indices):
        return self.expand(self.quantizer.lookup(indices))

    def mix(self, a, b, t):
        """The codes nearest to the points between the code vectors of a and b."""
        return self.quantizer.nearest(torch.lerp(self.quantizer.lookup(a), self.quantizer.lookup(b), t))


class CodeMixture(nn.Module):
    """Means of the codes under weights y (N, K, H, W): (N, D, H, W)."""

    def __init__(self, codes, code_dim, init, dtype):
        super().__init__()
        self.weight = nn.Parameter(new_codebook(codes, code_dim, init, dtype))

    def forward(self, y):
        return torch.einsum("nkhw,kd->ndhw", y, self.weight)

    def lookup(self, indices):
        return F.embedding(indices, self.weight).movedim(-1, 1)


class GumbelSoftmaxBottleneck(Bottleneck):
    """Logits of codes at every position, a relaxed draw from them, and the mean of the codes that it weighs.

    Jang et al. (arXiv:1611.01144); Ramesh et al. (arXiv:2102.12092). Without training, the draw is one code.
    """

    def __init__(self, feature_shape, codes, code_dim, init, temperature, hard, dtype):
        super().__init__()
        channels, *self.grid = feature_shape
        self.codes, self.hard, self.schedule = codes, hard, temperature
        self.indices = None
        self.project = nn.Conv2d(channels, codes, 1, dtype=dtype)
        with torch.no_grad():
            self.project.weight.mul_(10)  # else the noise drowns the first logits
        self.codebook = CodeMixture(codes, code_dim, init, dtype)
        self.expand = nn.Conv2d(code_dim, channels, 1, dtype=dtype)
        self.at_step(0)

    def at_step(self, step):
        self.temperature = scheduled(self.schedule, step)

    def draw_noise(self, count, rng, dtype):
        uniform, limits = rng.random((count, *self.grid, self.codes), dtype=dtype), np.finfo(dtype)
        return -np.log(-np.log(uniform.clip(limits.smallest_normal, 1 - limits.epsneg)))

    def forward(self, h, noise=None):
        logits = self.project(h)
        if noise is None:
            noise = -torch.empty_like(logits).exponential_().log()
        self.indices = logits.detach().argmax(1)
        terms = {"kl": kl_to_uniform(logits)}
        perturbed = logits + noise
        if not self.training:
            return self.decode(perturbed.argmax(1)), terms
        y = F.softmax(perturbed / self.temperature, dim=1)
        if self.hard:
            y = y + (F.one_hot(y.argmax(1), self.codes).movedim(-1, 1) - y).detach()
        return self.expand(self.codebook(y)), terms

    def encode(self, h):
        return self.project(h).argmax(1)

    def draw(self, h, noise):
        return (self.project(h) + noise).argmax(1)

    def decode(self, indices):
        return self.expand(self.codebook.lookup(indices))

    def mix(self, a, b, t):
        """The codes nearest to the points between the code vectors of a and b."""
        between = torch.lerp(F.embedding(a, self.codebook.weight), F.embedding(b, self.codebook.weight), t)
        return torch.cdist(between.flatten(0, -2), self.codebook.weight).argmin(1).view(a.shape)


class Autoencoder(nn.Module):
    """decoder(bottleneck(encoder(x))), trained on the weighted sum of its terms. Images are (N, C, H, W) in [0, 1]."""

    def __init__(self, encoder, bottleneck, decoder, reconstruction, weights):
        super().__init__()
        self.encoder, self.bottleneck, self.decoder = encoder, bottleneck, decoder
        self.reconstruction = reconstruction
        self.schedules = weights
        self.at_step(0)

    def at_step(self, step):
        """Give all that follows a schedule its value for one step of training, counted from 0 over the whole run."""
        self.step = step
        self.weights = {name: scheduled(weight, step) for name, weight in self.schedules.items()}
        self.bottleneck.at_step(step)

    def forward(self, x, noise=None):
        """(output, terms): the decoder's output and the bottleneck's loss terms."""
        y, terms = self.bottleneck(self.encoder(x), noise)
        return self.decoder(y), terms

    def loss(self, x, noise=None):
        """(loss, terms), all of them tensors of no dimension."""
        output, terms = self(x, noise)
        terms = {"reconstruction": self.reconstruction(output, x)} | terms
        return sum(weight * terms[name] for name, weight in self.weights.items()), terms

    @contextmanager
    def evaluating(self):
        """Evaluation mode and no graph for the duration of a `with` block; every schedule then is at its end."""
        training, step = self.training, self.step
        self.eval()
        self.at_step(math.inf)
        try:
            with torch.no_grad():
                yield
        finally:
            self.at_step(step)
            self.train(training)

    def encode(self, x):
        """z (N, Z) of the AE, the mean μ (N, Z) of the VAE, code indices (N, h, w) of the VQ-VAE and the dVAE."""
        with self.evaluating():
            return self.bottleneck.encode(self.encoder(x))

    def decode(self, latents):
        with self.evaluating():
            return self.reconstruction.mean(self.decoder(self.bottleneck.decode(latents)))

    def reconstruct(self, x):
        """Deterministic: from the VAE's mean, from the dVAE's most probable codes."""
        return self.decode(self.encode(x))

    @property
    def numpy_dtype(self):
        return torch.empty(0, dtype=next(self.parameters()).dtype).numpy().dtype

    def draw_noise(self, count, rng):
        """The noise of `count` images from a NumPy generator, so that both sides can be given the same; or None."""
        return self.bottleneck.draw_noise(count, rng, self.numpy_dtype)

    def sample(self, count, prior, rng):
        """`count` new images from latents drawn by `prior.draw(count, rng, dtype)`, a NumPy array."""
        latents = torch.from_numpy(prior.draw(count, rng, self.numpy_dtype))
        return self.decode(latents.to(next(self.parameters()).device))

    def variations(self, x, count, rng):
        """(N, count, C, H, W): each image decoded from `count` draws z ~ q(z | x), of the VAE or the dVAE."""
        if not hasattr(self.bottleneck, "draw"):
            raise ValueError("variations need a code that is drawn at random, as the VAE's is; this model's is not")
        with self.evaluating():
            h = self.encoder(x)
            noises = [torch.from_numpy(self.draw_noise(len(x), rng)).to(h) for _ in range(count)]
            noises = [noise.movedim(-1, 1) for noise in noises]  # a vector's only axis of features is where it was
            return torch.stack([self.decode(self.bottleneck.draw(h, noise)) for noise in noises], dim=1)

    def interpolate(self, a, b, steps):
        """(N, steps, C, H, W): images decoded from latents on the way from those of a to those of b, both included."""
        start, end = self.encode(a), self.encode(b)
        with self.evaluating():
            ways = torch.linspace(0, 1, steps, dtype=torch.float64).tolist()
            return torch.stack([self.decode(self.bottleneck.mix(start, end, t)) for t in ways], dim=1)


def build(model, image_shape, options, *, dtype=torch.float32):
    """The system `model` ("ae", "vae", "vqvae" or "dvae") for images of `image_shape` (H, W, C).

    `options` holds channels, likelihood and what the model's bottleneck reads. The weights are PyTorch's default
    ones, which torch.manual_seed decides.
    """
    H, W, C = image_shape
    common = math.gcd(H, W)
    depth = min(len(options["channels"]), (common & -common).bit_length() - 1)  # how often 2 divides both sides
    if depth == 0:
        raise ValueError(f"images of {H}×{W} cannot be halved: both sides have to be even")
    widths = [C, *options["channels"][:depth]]

    reconstruction = LIKELIHOODS[options["likelihood"]]()
    encoder, decoder = nn.Sequential(), nn.Sequential()
    for i in range(depth):
        encoder.append(nn.Conv2d(widths[i], widths[i + 1], 4, stride=2, padding=1, dtype=dtype))
        encoder.append(nn.ReLU())
    for i in reversed(range(depth)):
        width = widths[i] if i > 0 else reconstruction.outputs * C
        decoder.append(nn.ConvTranspose2d(widths[i + 1], width, 4, stride=2, padding=1, dtype=dtype))
        if i > 0:
            decoder.append(nn.ReLU())
    if options["likelihood"] == "squared_error":
        decoder.append(nn.Sigmoid())

    feature_shape = (widths[-1], H // 2**depth, W // 2**depth)
    weights = {"reconstruction": 1.0}
    if model == "ae":
        bottleneck = DenseBottleneck(feature_shape, options["latent_dim"], dtype)
    elif model == "vae":
        bottleneck = GaussianBottleneck(feature_shape, options["latent_dim"], dtype)
        weights["kl"] = options["beta"]
    elif model == "vqvae":
        bottleneck = VectorQuantizedBottleneck(
            feature_shape, options["codes"], options["code_dim"], options["codebook_init"], dtype)
        # Its recipes take means over elements: the terms' sums over an example, divided by how many they sum.
        pixels, latents = H * W * C, feature_shape[1] * feature_shape[2] * options["code_dim"]
        weights = {"reconstruction": 1 / pixels, "codebook": 1 / latents, "commitment": options["commitment"] / latents}
    elif model == "dvae":
        bottleneck = GumbelSoftmaxBottleneck(
            feature_shape, options["codes"], options["code_dim"], options["codebook_init"], options["temperature"],
            options["hard"], dtype)
        weights["kl"] = options["kl_weight"]
    else:
        raise ValueError(f"unknown model {model!r}: ae, vae, vqvae or dvae")
    return Autoencoder(encoder, bottleneck, decoder, reconstruction, weights)
