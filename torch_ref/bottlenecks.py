"""The bottlenecks, in which alone the systems differ. Feature maps are (N, C, H, W)."""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from torch_ref.codebooks import nearest_codes
from torch_ref.losses import free_bits_kl, gaussian_kl, kl_to_uniform
from torch_ref.quantizers import new_codebook
from torch_ref.schedules import scheduled


class Bottleneck(nn.Module):
    """forward(h, noise=None) -> (features for the decoder, {name: loss term}); encode and decode are its two halves."""

    indices = None  # the codes chosen by the last forward, where a bottleneck chooses codes
    measured = {}  # noqa: RUF012  what else the last forward reports: {name: tensor of no dimension}
    prepared_from = 0  # how many of the first batches `prepare` wants to see

    def by_level(self, codes):
        """{level: grid} of a latent of codes, or of `indices`; a grid that is the only one has the name ""."""
        return {"": codes}

    def draw_noise(self, count, rng, dtype):
        """The noise that forward takes for `count` images, from a NumPy generator; None where nothing is random.

        Where it is a map of features it has NumPy's layout, (N, H, W, C).
        """
        return None

    def prepare(self, features, rng):
        """Make ready for training from the features of the first batches; rng is a NumPy generator."""

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


class SparseBottleneck(DenseBottleneck):
    """The same behind a ReLU, and the L1 norm of the code; reports the share of zeros in it."""

    def forward(self, h, noise=None):
        z = self.encode(h)
        self.measured = {"share_of_zeros": (z == 0).to(z.dtype).mean()}
        return self.decode(z), {"l1": torch.linalg.vector_norm(z, ord=1, dim=1).mean()}

    def encode(self, h):
        return F.relu(super().encode(h))


class GaussianBottleneck(Bottleneck):
    """A sample z of N(μ(h), σ²(h)), reparameterized, and its KL to N(0, I). Shapes: mu, logvar, z (N, latent_dim).

    With free_bits or a capacity (a number or a schedule, both in nats) what is optimised is a term beside the KL:
    kl_free, or kl_gap = |KL − capacity| of the batch's mean KL (Burgess et al., arXiv:1804.03599).
    """

    def __init__(self, feature_shape, latent_dim, dtype, free_bits=0.0, capacity=None):
        super().__init__()
        self.free_bits, self.schedule = free_bits, capacity
        self.at_step(0)
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
        terms = {"kl": gaussian_kl(mu, logvar)}
        if self.free_bits:
            terms["kl_free"] = free_bits_kl(mu, logvar, self.free_bits)
        if self.schedule is not None:
            terms["kl_gap"] = torch.abs(terms["kl"] - self.capacity)
        return self.decode(torch.addcmul(mu, sigma, eps)), terms

    def at_step(self, step):
        self.capacity = None if self.schedule is None else scheduled(self.schedule, step)

    def encode(self, h):
        return self.mu(h.flatten(1))

    def decode(self, z):
        return self.unflatten(self.expand(z))


class VectorQuantizedBottleneck(Bottleneck):
    """1×1 convolution to code_dim channels, VectorQuantizer, 1×1 convolution back. A latent is a grid of indices.

    Without `expand` the code vectors go to the decoder as they are.
    """

    def __init__(self, feature_shape, make_quantizer, code_dim, dtype, expand=True):
        super().__init__()
        channels = feature_shape[0]
        self.project = nn.Conv2d(channels, code_dim, 1, dtype=dtype)
        self.quantizer = make_quantizer()
        self.expand = nn.Conv2d(code_dim, channels, 1, dtype=dtype) if expand else nn.Identity()

    @property
    def indices(self):
        return self.quantizer.indices

    @property
    def codes(self):
        return len(self.quantizer.codebook)

    @property
    def prepared_from(self):
        return self.quantizer.prepared_from

    def prepare(self, features, rng):
        self.quantizer.prepare([self.project(h) for h in features], rng)

    def draw_choices(self, rng):
        return self.quantizer.draw_choices(rng)

    def update(self, choices=None):
        self.quantizer.update(choices)

    def forward(self, h, noise=None):
        q, terms = self.quantizer(self.project(h))
        return self.expand(q), terms

    def encode(self, h):
        return self.quantizer.nearest(self.project(h))

    def decode(self, indices):
        return self.expand(self.quantizer.lookup(indices))

    def mix(self, a, b, t):
        return self.quantizer.mix(a, b, t)


class TwoLevelBottleneck(Bottleneck):
    """The top's codes on a grid of half the side, and the bottom's, which are chosen given the top's.

    A latent is the list [top (N, H/2, W/2), bottom (N, H, W)]. Terms have the level's name behind their own.
    `make_quantizer` is called once for each level.
    """

    def __init__(self, feature_shape, top_channels, make_quantizer, code_dim, dtype):
        super().__init__()
        channels, *grid = feature_shape
        if any(side % 2 for side in grid):
            raise ValueError(f"two levels of codes halve the encoder's grid once more, and its {grid[0]}×{grid[1]} "
                             f"cannot be halved")
        self.top_encoder = nn.Sequential(
            nn.Conv2d(channels, top_channels, 4, stride=2, padding=1, dtype=dtype),
            nn.ReLU(),
            nn.Conv2d(top_channels, code_dim, 1, dtype=dtype),
        )
        self.top_quantizer = make_quantizer()
        self.top_decoder = nn.ConvTranspose2d(code_dim, code_dim, 4, stride=2, padding=1, dtype=dtype)
        self.project = nn.Conv2d(channels + code_dim, code_dim, 1, dtype=dtype)
        self.bottom_quantizer = make_quantizer()
        self.upsample = nn.ConvTranspose2d(code_dim, code_dim, 4, stride=2, padding=1, dtype=dtype)
        self.expand = nn.Conv2d(2 * code_dim, channels, 1, dtype=dtype)

    @property
    def indices(self):
        return [self.top_quantizer.indices, self.bottom_quantizer.indices]

    @property
    def codes(self):
        return len(self.top_quantizer.codebook)

    @property
    def prepared_from(self):
        return self.top_quantizer.prepared_from

    def prepare(self, features, rng):
        self.top_quantizer.prepare([self.top_encoder(h) for h in features], rng)
        tops = [self.top_quantizer.lookup(self.top_quantizer.nearest(self.top_encoder(h))) for h in features]
        self.bottom_quantizer.prepare([self.bottom_latents(h, top) for h, top in zip(features, tops, strict=True)], rng)

    def draw_choices(self, rng):
        top, bottom = self.top_quantizer.draw_choices(rng), self.bottom_quantizer.draw_choices(rng)
        return None if top is None else np.concatenate([top, bottom])

    def update(self, choices=None):
        sizes = [indices.numel() for indices in self.indices]
        of_top, of_bottom = (None, None) if choices is None else choices.split(sizes)
        self.top_quantizer.update(of_top)
        self.bottom_quantizer.update(of_bottom)

    def by_level(self, codes):
        top, bottom = codes
        return {"top": top, "bottom": bottom}

    def forward(self, h, noise=None):
        top, top_terms = self.top_quantizer(self.top_encoder(h))
        bottom, bottom_terms = self.bottom_quantizer(self.bottom_latents(h, top))
        terms = {f"{name}_top": term for name, term in top_terms.items()}
        terms |= {f"{name}_bottom": term for name, term in bottom_terms.items()}
        return self.features(top, bottom), terms

    def bottom_latents(self, h, top):
        return self.project(torch.cat([h, self.top_decoder(top)], dim=1))

    def features(self, top, bottom):
        return self.expand(torch.cat([bottom, self.upsample(top)], dim=1))

    def encode(self, h):
        top = self.top_quantizer.nearest(self.top_encoder(h))
        return [top, self.bottom_quantizer.nearest(self.bottom_latents(h, self.top_quantizer.lookup(top)))]

    def decode(self, codes):
        top, bottom = codes
        return self.features(self.top_quantizer.lookup(top), self.bottom_quantizer.lookup(bottom))

    def mix(self, a, b, t):
        return [self.top_quantizer.mix(a[0], b[0], t), self.bottom_quantizer.mix(a[1], b[1], t)]


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
        return nearest_codes(between.flatten(0, -2), self.codebook.weight).view(a.shape)
