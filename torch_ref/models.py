"""The same systems under the same names: `state_dict()` is interchangeable with scratch's, in both directions.

Images and feature maps are NCHW here, as PyTorch has them.
"""

import math
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from torch_ref.codebooks import DeadCodes, MovingAverages, entropy_gap, kmeans
from torch_ref.losses import LIKELIHOODS, gaussian_kl, kl_to_uniform, vector_quantization
from torch_ref.networks import convolutions, residual
from torch_ref.schedules import scheduled

SEARCH_ROWS = 4096  # latent vectors whose distances to all codes are held at a time


class Bottleneck(nn.Module):
    """forward(h, noise=None) -> (features for the decoder, {name: loss term}); encode and decode are its two halves."""

    indices = None  # the codes chosen by the last forward, where a bottleneck chooses codes
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
    if init == "variance_scaling":
        return nn.init.kaiming_uniform_(codebook, nonlinearity="linear")  # ±√(3/D)
    raise ValueError(f"a codebook is initialised uniform, normal, xavier or variance_scaling, not {init!r}")


class VectorQuantizer(nn.Module):
    """The nearest codebook vector at every position, with the straight-through estimator.

    Shapes: z (N, D, H, W), codebook (K, D), indices (N, H, W).
    """

    prepared_from = 0  # how many batches `prepare` wants to see

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

    def mix(self, a, b, t):
        """The codes nearest to the points between the code vectors of a and b."""
        return self.nearest(torch.lerp(self.lookup(a), self.lookup(b), t))

    def draw_choices(self, rng):
        return None

    def update(self, choices=None):
        """Change what no gradient changes."""


class ReversedVectorQuantizer(VectorQuantizer):
    """The article's program as it is printed: the straight-through line the wrong way round, the losses behind it."""

    def forward(self, z):
        self.indices = self.nearest(z)
        q = self.lookup(self.indices)
        q = q + (z - q).detach()
        codebook, commitment = vector_quantization(z, q)
        return q, {"codebook": codebook, "commitment": commitment}


class CuredVectorQuantizer(VectorQuantizer):
    """VectorQuantizer with any of: k-means initialisation, moving averages, restarts, entropy term, cosine distance."""

    def __init__(self, codes, code_dim, init, dtype, *, ema_decay=None, restart_after=None, entropy_temperature=None,
                 cosine=False):
        super().__init__(codes, code_dim, "normal" if init == "kmeans" else init, dtype)
        self.prepared_from = 10 if init == "kmeans" else 0
        self.entropy_temperature, self.cosine = entropy_temperature, cosine
        self.averages = self.dead_codes = None
        if ema_decay is not None:
            codebook = self.codebook.detach()
            del self.codebook
            self.register_buffer("codebook", codebook)
            self.averages = MovingAverages(codebook, ema_decay)
        if restart_after is not None:
            self.dead_codes = DeadCodes(self.codebook.detach(), restart_after)

    def compared(self, vectors, dim):
        """Latents or codes as they are compared: on the unit sphere under the cosine distance."""
        return F.normalize(vectors, dim=dim) if self.cosine else vectors

    def forward(self, z):
        self.indices = self.nearest(z)
        z, q = self.compared(z, 1), self.lookup(self.indices)
        codebook, commitment = vector_quantization(z, q)
        terms = {"commitment": commitment} if self.averages else {"codebook": codebook, "commitment": commitment}
        vectors = z.movedim(1, -1).flatten(0, -2)
        if self.entropy_temperature is not None:
            terms["entropy_gap"] = entropy_gap(vectors, self.compared(self.codebook, 1), self.entropy_temperature)
        self.latents = vectors.detach()
        return z + (q - z).detach(), terms

    @torch.no_grad()
    def nearest(self, z):
        vectors, codebook = self.compared(z, 1).movedim(1, -1), self.compared(self.codebook, 1)
        rows = vectors.flatten(0, -2).split(SEARCH_ROWS)
        return torch.cat([torch.cdist(row, codebook).argmin(1) for row in rows]).view(vectors.shape[:-1])

    def lookup(self, indices):
        return F.embedding(indices, self.compared(self.codebook, 1)).movedim(-1, 1)

    @torch.no_grad()
    def prepare(self, latents, rng):
        vectors = torch.cat([self.compared(z, 1).movedim(1, -1).flatten(0, -2) for z in latents])
        codes = len(self.codebook)
        picks = torch.from_numpy(rng.choice(len(vectors), codes, replace=len(vectors) < codes)).to(vectors.device)
        codebook, counts = kmeans(vectors, vectors[picks], iterations=10)
        self.codebook.copy_(codebook)
        if self.averages:
            self.averages.begin(codebook, counts.clamp(min=1) / len(latents))

    def draw_choices(self, rng):
        return rng.random(len(self.latents)) if self.dead_codes else None

    @torch.no_grad()
    def update(self, choices=None):
        if not self.averages and not self.dead_codes:
            return
        assignments = F.one_hot(self.indices.flatten(), len(self.codebook)).to(self.latents)
        if self.averages:
            self.codebook.copy_(self.averages.update(self.latents, assignments))
        if self.dead_codes:
            dead = self.dead_codes.update(assignments.any(0), most=len(self.latents))
            fresh = self.latents[choices.argsort()[: len(dead)]]
            self.codebook[dead] = fresh
            if self.averages:
                self.averages.restart(dead, fresh)


def quantizer(options, dtype):
    """The quantizer that the options ask for. Where they say nothing of cures, it is the plain one."""
    arguments = options["codes"], options["code_dim"], options["codebook_init"], dtype
    if options.get("straight_through") == "reversed":
        return ReversedVectorQuantizer(*arguments)
    cures = {}
    if options.get("codebook_update") == "ema":
        cures["ema_decay"] = options["ema_decay"]
    if options.get("restart_after"):
        cures["restart_after"] = options["restart_after"]
    if options.get("entropy_weight"):
        cures["entropy_temperature"] = options["entropy_temperature"]
    if options.get("code_metric") == "cosine":
        cures["cosine"] = True
    if cures or options["codebook_init"] == "kmeans":
        return CuredVectorQuantizer(*arguments, **cures)
    return VectorQuantizer(*arguments)


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
        channels = feature_shape[0]
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
        """z (N, Z) of the AE, the mean μ (N, Z) of the VAE, code indices (N, h, w) of the VQ-VAE and the dVAE, and of
        the VQ-VAE-2 a list of two such grids, the top's and the bottom's."""
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
        """`count` new images from latents drawn by `prior.draw(count, rng, dtype)`, a NumPy array or a list of them."""
        latents, device = prior.draw(count, rng, self.numpy_dtype), next(self.parameters()).device
        if isinstance(latents, list):
            return self.decode([torch.from_numpy(grid).to(device) for grid in latents])
        return self.decode(torch.from_numpy(latents).to(device))

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


def vector_quantization_weights(image_shape, options, grids):
    """{term: weight}. The recipes take means over elements: the sums over an example, divided by how many they sum.

    grids  {what stands behind the names of a level's terms: (rows, columns) of its codes}
    """
    weights = {"reconstruction": 1 / math.prod(image_shape) / options.get("data_variance", 1.0)}
    for level, (rows, columns) in grids.items():
        elements = rows * columns * options["code_dim"]
        weights[f"commitment{level}"] = options["commitment"] / elements
        if options.get("codebook_update") != "ema":
            weights[f"codebook{level}"] = 1 / elements
        if options.get("entropy_weight"):
            weights[f"entropy_gap{level}"] = options["entropy_weight"]
    return weights


def build(model, image_shape, options, *, dtype=torch.float32):
    """The system `model` ("ae", "vae", "vqvae", "vqvae2" or "dvae") for images of `image_shape` (H, W, C).

    `options` holds channels, likelihood and what the model's bottleneck reads. The weights are PyTorch's default
    ones, which torch.manual_seed decides.
    """
    reconstruction, code_dim = LIKELIHOODS[options["likelihood"]](), options.get("code_dim")
    is_image = options["likelihood"] == "squared_error"
    if options.get("network", "convolution") == "residual":
        # The published VQ-VAE's decoder takes the code vectors; any other bottleneck gives back what it was given.
        latent_channels = code_dim if model == "vqvae" else options["hidden"]
        encoder, decoder, feature_shape = residual(
            image_shape, options, latent_channels, reconstruction.outputs, is_image, dtype)
        top_channels = options["hidden"]
    else:
        inside = 1 if model == "vqvae2" else 0  # halvings that the bottleneck makes
        encoder, decoder, feature_shape, top_channels = convolutions(
            image_shape, options["channels"], reconstruction.outputs, is_image, dtype, inside)

    weights = {"reconstruction": 1.0}
    if model == "ae":
        bottleneck = DenseBottleneck(feature_shape, options["latent_dim"], dtype)
    elif model == "vae":
        bottleneck = GaussianBottleneck(feature_shape, options["latent_dim"], dtype)
        weights["kl"] = options["beta"]
    elif model == "vqvae":
        bottleneck = VectorQuantizedBottleneck(
            feature_shape, lambda: quantizer(options, dtype), code_dim, dtype,
            expand=options.get("network") != "residual")
        weights = vector_quantization_weights(image_shape, options, {"": feature_shape[1:]})
    elif model == "vqvae2":
        bottleneck = TwoLevelBottleneck(feature_shape, top_channels, lambda: quantizer(options, dtype), code_dim, dtype)
        _, rows, columns = feature_shape
        levels = {"_top": (rows // 2, columns // 2), "_bottom": (rows, columns)}
        weights = vector_quantization_weights(image_shape, options, levels)
    elif model == "dvae":
        bottleneck = GumbelSoftmaxBottleneck(
            feature_shape, options["codes"], code_dim, options["codebook_init"], options["temperature"],
            options["hard"], dtype)
        weights["kl"] = options["kl_weight"]
    else:
        raise ValueError(f"unknown model {model!r}: ae, vae, vqvae, vqvae2 or dvae")
    return Autoencoder(encoder, bottleneck, decoder, reconstruction, weights)
