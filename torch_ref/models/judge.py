"""The judge of drawn shapes in PyTorch."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from torch_ref.models.model import Model
from torch_ref.options import number, widths

WORDS = {"size": 3, "colour": 6, "shape": 4, "row": 3, "column": 3, "ground": 6}


class Judge(Model, system="judge"):
    """Which word of each kind is true of an image. x (N, S·S·3 + 6) uint8: pixels, row by row, then words."""

    options = {"channels": widths(32, 64, 128, 128), "noise": number(0.1)}

    def __init__(self, shape, channels, noise, dtype):
        super().__init__()
        self.most = noise
        self.side, layers, counts = math.isqrt(shape[0] // 3), [], [3, *channels]
        if self.side % 2 ** (len(channels) - 1) or shape[0] != 3 * self.side**2 + len(WORDS):
            raise ValueError(f"rows of {shape[0]} are no square images with words, or cannot be halved as often as "
                             f"channels {channels} say")
        for fewer, more in zip(counts, channels, strict=False):
            layers += [nn.Conv2d(fewer, more, 3, padding=1, bias=False, dtype=dtype), nn.BatchNorm2d(more, dtype=dtype),
                       nn.ReLU(), nn.MaxPool2d(2)]
        features = channels[-1] * (self.side // 2 ** (len(channels) - 1)) ** 2
        self.network = nn.Sequential(
            *layers[:-1], nn.Flatten(), nn.Linear(features, sum(WORDS.values()), dtype=dtype))
        self.dtype = dtype

    def images(self, x):
        pixels = x[:, : -len(WORDS)].to(self.dtype) / 255
        return pixels.unflatten(1, (self.side, self.side, 3)).permute(0, 3, 1, 2)

    def draw_noise(self, count, rng, other_rng=None):
        dtype = str(self.dtype).removeprefix("torch.")
        eps = rng.standard_normal((count, self.side, self.side, 3), dtype=dtype)
        return [eps, rng.random((count, 1, 1, 1), dtype=dtype)]

    def forward(self, images):
        return self.network(images)

    def loss(self, x, noise=None):
        words = x[:, -len(WORDS) :].long()
        images = self.images(x)
        if self.training and noise is not None:
            eps, u = noise
            images = images + self.most * u * eps
        logits = self(images).split(list(WORDS.values()), dim=1)
        terms = {kind: F.cross_entropy(a, words[:, i]) for i, (kind, a) in enumerate(zip(WORDS, logits, strict=True))}
        self.right = torch.stack([a.argmax(1) == words[:, i] for i, a in enumerate(logits)])
        return sum(terms.values()), terms

    def observed(self):
        return {"words_right": self.right.to(self.dtype).mean(),
                "images_right": self.right.all(0).to(self.dtype).mean()}, {}
