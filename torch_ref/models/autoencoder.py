"""An autoencoder: encoder, bottleneck, decoder and the loss. Images and feature maps are NCHW, as PyTorch has them."""

import math
from contextlib import contextmanager

import torch

from torch_ref.models.model import Model
from torch_ref.schedules import scheduled


class Autoencoder(Model):
    """decoder(bottleneck(encoder(x))), trained on the weighted sum of its terms. Images are (N, C, H, W) in [0, 1].

    With a corruption the encoder sees corrupted images in training and in the loss. The noise then is a list: the
    corruption's, and the bottleneck's where that one takes any.
    """

    has_images = True

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
        """As a Model's; every schedule is at its end for the duration of the block."""
        step = self.step
        self.at_step(math.inf)
        try:
            with super().evaluating():
                yield
        finally:
            self.at_step(step)

    @property
    def prepared_from(self):
        return self.bottleneck.prepared_from

    def prepare(self, batches, rng):
        """Show the bottleneck the first batches of images, in training mode: batch normalisation goes by the batch."""
        with torch.no_grad():
            features = [self.train().encoder(images) for images in batches]
        with self.evaluating():
            self.bottleneck.prepare(features, rng)

    def observed(self):
        """What the bottleneck and the likelihood report of the last loss, and how often each code was chosen."""
        bottleneck, counts = self.bottleneck, {}
        if bottleneck.indices is not None:
            for level, indices in bottleneck.by_codebook(bottleneck.indices).items():
                used = indices.flatten()
                # index_add_ rather than bincount, which on a GPU waits for the largest index
                counts[level] = used.new_zeros(bottleneck.codes).index_add_(0, used, torch.ones_like(used))
        return {**self.reconstruction.measured, **bottleneck.measured}, counts

    def squared_errors(self, x):
        return (self.reconstruct(x) - x).square().sum((1, 2, 3))

    def draw_choices(self, rng):
        return self.bottleneck.draw_choices(rng)

    def update(self, choices=None):
        self.bottleneck.update(choices)

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
