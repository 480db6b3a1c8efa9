"""The same systems under the same names: `state_dict()` is interchangeable with scratch's, in both directions.

Images and feature maps are NCHW here, as PyTorch has them.
"""

import math
from contextlib import contextmanager

import torch
from torch import nn

from torch_ref.bottlenecks.bottleneck import (
    DenseBottleneck,
    GaussianBottleneck,
    GumbelSoftmaxBottleneck,
    SparseBottleneck,
    TwoLevelBottleneck,
    VectorQuantizedBottleneck,
)
from torch_ref.bottlenecks.vector_quantizer import quantizer
from torch_ref.losses import LIKELIHOODS
from torch_ref.models.corruption import Corruption
from torch_ref.networks.convolutional import convolutions, mlp, residual, start_from_truncated_normal
from torch_ref.schedules import scheduled


class Autoencoder(nn.Module):
    """decoder(bottleneck(encoder(x))), trained on the weighted sum of its terms. Images are (N, C, H, W) in [0, 1].

    With a corruption the encoder sees corrupted images in training and in the loss. The noise then is a list: the
    corruption's, and the bottleneck's where that one takes any.
    """

    def __init__(self, encoder, bottleneck, decoder, reconstruction, weights, corruption=None):
        super().__init__()
        self.encoder, self.bottleneck, self.decoder = encoder, bottleneck, decoder
        self.reconstruction, self.corruption = reconstruction, corruption
        self.schedules = weights
        self.at_step(0)

    def at_step(self, step):
        """Give all that follows a schedule its value for one step of training, counted from 0 over the whole run."""
        self.step = step
        self.weights = {name: scheduled(weight, step) for name, weight in self.schedules.items()}
        self.bottleneck.at_step(step)

    def forward(self, x, noise=None):
        """(output, terms): the decoder's output and the bottleneck's loss terms."""
        if self.corruption is not None:
            first, noise = (*(noise or ()), None, None)[:2]
            x = self.corruption(x, first)
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

    def draw_noise(self, count, rng, corruption_rng=None):
        """The noise of `count` images from a NumPy generator, so that both sides can be given the same; or None. What
        corrupts them comes after it, or from a generator of its own."""
        noise = self.bottleneck.draw_noise(count, rng, self.numpy_dtype)
        if self.corruption is None:
            return noise
        corrupting = self.corruption.draw_noise(count, corruption_rng or rng, self.numpy_dtype)
        return [part for part in (corrupting, noise) if part is not None]

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
            draws = [self.bottleneck.draw_noise(len(x), rng, self.numpy_dtype) for _ in range(count)]
            noises = [torch.from_numpy(draw).to(h) for draw in draws]
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
    ones, or Sonnet's where `weight_init` asks for them; torch.manual_seed decides.
    """
    reconstruction, code_dim = LIKELIHOODS[options["likelihood"]](dtype), options.get("code_dim")
    outputs, is_image = reconstruction.outputs, reconstruction.is_image
    network = options.get("network", "convolution")
    if network == "residual":
        # The published VQ-VAE's decoder takes the code vectors; any other bottleneck gives back what it was given.
        latent_channels = code_dim if model == "vqvae" else options["hidden"]
        encoder, decoder, feature_shape = residual(
            image_shape, options, latent_channels, outputs, is_image, dtype)
        top_channels = options["hidden"]
    elif network == "mlp":
        encoder, decoder, feature_shape = mlp(image_shape, options["widths"], outputs, is_image, dtype)
    elif network == "linear":
        if model not in ("ae", "vae") or outputs > 1:
            raise ValueError(f"no linear network for {model} and {options['likelihood']}")
        H, W, C = image_shape
        encoder, decoder, feature_shape = nn.Sequential(), nn.Sequential(), (C, H, W)
    else:
        inside = 1 if model == "vqvae2" else 0  # halvings that the bottleneck makes
        encoder, decoder, feature_shape, top_channels = convolutions(
            image_shape, options["channels"], outputs, is_image, dtype, inside,
            options.get("norm", "none"), pooling=network == "pooling")

    weights = {"reconstruction": 1.0}
    if model == "ae":
        kind = SparseBottleneck if options.get("sparsity") else DenseBottleneck
        bottleneck = kind(feature_shape, options["latent_dim"], dtype)
        if options.get("sparsity"):
            weights["l1"] = options["sparsity"]
    elif model == "vae":
        free_bits, capacity = options.get("free_bits", 0.0), options.get("capacity")
        bottleneck = GaussianBottleneck(feature_shape, options["latent_dim"], dtype, free_bits, capacity)
        optimised = "kl_free" if free_bits else "kl" if capacity is None else "kl_gap"
        weights |= {"kl": 0.0, optimised: options["beta"]}
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
    corruption = Corruption(options["corruption"], image_shape) if options.get("corruption") else None
    autoencoder = Autoencoder(encoder, bottleneck, decoder, reconstruction, weights, corruption)
    if options.get("weight_init") == "truncated_normal":
        autoencoder.apply(start_from_truncated_normal)
    return autoencoder
