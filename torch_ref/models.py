"""The same systems under the same names: `state_dict()` is interchangeable with scratch's, in both directions.

Images and feature maps are NCHW here, as PyTorch has them.
"""

import math
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional as F

from torch_ref.losses import LIKELIHOODS, gaussian_kl, vector_quantization
from torch_ref.schedules import scheduled

SEARCH_ROWS = 4096  # latent vectors whose distances to all codes are held at a time


class Bottleneck(nn.Module):
    """forward(h, noise=None) -> (features for the decoder, {name: loss term}); encode and decode are its two halves."""

    indices = None  # the codes chosen by the last forward, where a bottleneck chooses codes

    def by_level(self, codes):
        """{level: grid} of a latent of codes, or of `indices`; a grid that is the only one has the name ""."""
        return {"": codes}

    def noise_shape(self, count):
        """The shape of the noise that forward takes for `count` images; None where nothing is random."""
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

    def noise_shape(self, count):
        return count, self.mu.out_features

    def posterior(self, h):
        """(μ, σ, log σ²) of q(z | h)."""
        h = h.flatten(1)
        logvar = self.logvar(h)
        return self.mu(h), torch.exp(logvar / 2), logvar

    def forward(self, h, noise=None):
        mu, sigma, logvar = self.posterior(h)
        eps = torch.randn_like(mu) if noise is None else noise
        return self.decode(torch.addcmul(mu, sigma, eps)), {"kl": gaussian_kl(mu, logvar)}

    def encode(self, h):
        return self.mu(h.flatten(1))

    def decode(self, z):
        return self.unflatten(self.expand(z))


class VectorQuantizer(nn.Module):
    """The nearest codebook vector at every position, with the straight-through estimator.

    Shapes: z (N, D, H, W), codebook (K, D), indices (N, H, W).
    """

    def __init__(self, codes, code_dim, init, dtype):
        super().__init__()
        self.codebook = nn.Parameter(torch.empty(codes, code_dim, dtype=dtype))
        self.indices = None
        if init == "uniform":
            nn.init.uniform_(self.codebook, -1 / codes, 1 / codes)
        elif init == "normal":
            nn.init.normal_(self.codebook)
        elif init == "xavier":
            nn.init.xavier_normal_(self.codebook)
        else:
            raise ValueError(f"a codebook is initialised uniform, normal or xavier, not {init!r}")

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

    def mix(self, a, b, t):
        """The codes nearest to the points between the code vectors of a and b."""
        return self.nearest(torch.lerp(self.lookup(a), self.lookup(b), t))


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
        return self.quantizer.mix(a, b, t)


class TwoLevelBottleneck(Bottleneck):
    """The top's codes on a grid of half the side, and the bottom's, which are chosen given the top's.

    A latent is the list [top (N, H/2, W/2), bottom (N, H, W)]. Terms have the level's name behind their own.
    """

    def __init__(self, feature_shape, top_channels, codes, code_dim, init, dtype):
        super().__init__()
        channels = feature_shape[0]
        self.top_encoder = nn.Sequential(
            nn.Conv2d(channels, top_channels, 4, stride=2, padding=1, dtype=dtype),
            nn.ReLU(),
            nn.Conv2d(top_channels, code_dim, 1, dtype=dtype),
        )
        self.top_quantizer = VectorQuantizer(codes, code_dim, init, dtype)
        self.top_decoder = nn.ConvTranspose2d(code_dim, code_dim, 4, stride=2, padding=1, dtype=dtype)
        self.project = nn.Conv2d(channels + code_dim, code_dim, 1, dtype=dtype)
        self.bottom_quantizer = VectorQuantizer(codes, code_dim, init, dtype)
        self.upsample = nn.ConvTranspose2d(code_dim, code_dim, 4, stride=2, padding=1, dtype=dtype)
        self.expand = nn.Conv2d(2 * code_dim, channels, 1, dtype=dtype)

    @property
    def indices(self):
        return [self.top_quantizer.indices, self.bottom_quantizer.indices]

    @property
    def codes(self):
        return len(self.top_quantizer.codebook)

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
        """z (N, Z) of the AE, the mean μ (N, Z) of the VAE, code indices (N, h, w) of the VQ-VAE, and of the
        VQ-VAE-2 a list of two such grids, the top's and the bottom's."""
        with self.evaluating():
            return self.bottleneck.encode(self.encoder(x))

    def decode(self, latents):
        with self.evaluating():
            return self.reconstruction.mean(self.decoder(self.bottleneck.decode(latents)))

    def reconstruct(self, x):
        """Deterministic: from the VAE's mean."""
        return self.decode(self.encode(x))

    @property
    def numpy_dtype(self):
        return torch.empty(0, dtype=next(self.parameters()).dtype).numpy().dtype

    def draw_noise(self, count, rng):
        """The noise of `count` images from a NumPy generator, so that both sides can be given the same; or None."""
        shape = self.bottleneck.noise_shape(count)
        return None if shape is None else rng.standard_normal(shape, dtype=self.numpy_dtype)

    def sample(self, count, prior, rng):
        """`count` new images from latents drawn by `prior.draw(count, rng, dtype)`, a NumPy array or a list of them."""
        latents, device = prior.draw(count, rng, self.numpy_dtype), next(self.parameters()).device
        if isinstance(latents, list):
            return self.decode([torch.from_numpy(grid).to(device) for grid in latents])
        return self.decode(torch.from_numpy(latents).to(device))

    def variations(self, x, count, rng):
        """(N, count, C, H, W): each image decoded from `count` draws z ~ q(z | x); only the VAE has such draws."""
        if not isinstance(self.bottleneck, GaussianBottleneck):
            raise ValueError("variations need a code that is drawn at random, as the VAE's is; this model's is not")
        with self.evaluating():
            mu, sigma, _ = self.bottleneck.posterior(self.encoder(x))
            draws = [torch.from_numpy(self.draw_noise(len(x), rng)).to(mu) for _ in range(count)]
            return torch.stack([self.decode(mu + sigma * eps) for eps in draws], dim=1)

    def interpolate(self, a, b, steps):
        """(N, steps, C, H, W): images decoded from latents on the way from those of a to those of b, both included."""
        start, end = self.encode(a), self.encode(b)
        with self.evaluating():
            ways = torch.linspace(0, 1, steps, dtype=torch.float64).tolist()
            return torch.stack([self.decode(self.bottleneck.mix(start, end, t)) for t in ways], dim=1)


def build(model, image_shape, options, *, dtype=torch.float32):
    """The system `model` ("ae", "vae", "vqvae" or "vqvae2") for images of `image_shape` (H, W, C).

    `options` holds channels, likelihood and what the model's bottleneck reads. The weights are PyTorch's default
    ones, which torch.manual_seed decides.
    """
    H, W, C = image_shape
    common = math.gcd(H, W)
    depth = min(len(options["channels"]), (common & -common).bit_length() - 1)  # how often 2 divides both sides
    if depth == 0:
        raise ValueError(f"images of {H}×{W} cannot be halved: both sides have to be even")
    widths = [C, *options["channels"][:depth]]
    if model == "vqvae2":
        if depth == 1:
            raise ValueError(f"images of {H}×{W} cannot be halved twice, as the {model} does: both sides have to be "
                             f"divisible by 4, and channels have to name two widths")
        depth -= 1  # the last width is that of the top's own encoder

    encoder, decoder = nn.Sequential(), nn.Sequential()
    for i in range(depth):
        encoder.append(nn.Conv2d(widths[i], widths[i + 1], 4, stride=2, padding=1, dtype=dtype))
        encoder.append(nn.ReLU())
    for i in reversed(range(depth)):
        decoder.append(nn.ConvTranspose2d(widths[i + 1], widths[i], 4, stride=2, padding=1, dtype=dtype))
        if i > 0:
            decoder.append(nn.ReLU())
    if options["likelihood"] == "squared_error":
        decoder.append(nn.Sigmoid())

    feature_shape = (widths[depth], H // 2**depth, W // 2**depth)
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
    elif model == "vqvae2":
        bottleneck = TwoLevelBottleneck(
            feature_shape, widths[-1], options["codes"], options["code_dim"], options["codebook_init"], dtype)
        weights = {"reconstruction": 1 / (H * W * C)}
        for level, cells in (("top", H * W // 4 ** (depth + 1)), ("bottom", H * W // 4**depth)):
            weights[f"codebook_{level}"] = 1 / (cells * options["code_dim"])
            weights[f"commitment_{level}"] = options["commitment"] / (cells * options["code_dim"])
    else:
        raise ValueError(f"unknown model {model!r}: ae, vae, vqvae or vqvae2")
    return Autoencoder(encoder, bottleneck, decoder, LIKELIHOODS[options["likelihood"]](), weights)
