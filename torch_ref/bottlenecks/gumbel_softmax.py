"""The dVAE's bottleneck: Jang et al. (arXiv:1611.01144); Ramesh et al. (arXiv:2102.12092)."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from torch_ref.bottlenecks.bottleneck import Bottleneck
from torch_ref.bottlenecks.codebook.initial import CODEBOOK_INITS, new_codebook
from torch_ref.bottlenecks.vector_quantizer import nearest_grid
from torch_ref.losses import kl_to_uniform
from torch_ref.options import choice, schedule, switch, whole
from torch_ref.schedules import scheduled


class CodeMixture(nn.Module):
    """Means of the codes under weights y (N, K, H, W): (N, D, H, W)."""

    def __init__(self, codes, code_dim, init, dtype):
        super().__init__()
        self.weight = nn.Parameter(new_codebook(codes, code_dim, init, dtype))

    def forward(self, y):
        return torch.einsum("nkhw,kd->ndhw", y, self.weight)

    def lookup(self, indices):
        return F.embedding(indices, self.weight).movedim(-1, 1)


class GumbelSoftmaxBottleneck(Bottleneck, system="dvae"):
    """Logits of codes at every position, a relaxed draw from them, and the mean of the codes that it weighs.

    In evaluation the draw is one code.
    """

    needs_grid = has_codes = own_weight_init = True
    options = {
        "codes": whole(256),
        "code_dim": whole(8),
        "codebook_init": choice("normal", *(init for init in CODEBOOK_INITS if init != "normal")),
        "temperature": schedule("exponential:4:0.25:1000", above=True),
        "hard": switch(False),
        "kl_weight": schedule("exponential:0.3:0.01:1000"),
    }

    def __init__(self, feature_shape, codes, code_dim, init, temperature, hard=False, *, dtype):
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

    @classmethod
    def from_options(cls, options, ends, dtype):
        names = ("codes", "code_dim", "codebook_init", "temperature", "hard")
        return cls(ends.feature_shape, *(options[name] for name in names), dtype=dtype)

    def weights(self, options, image_shape):
        return {"reconstruction": 1.0, "kl": options["kl_weight"]}

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
        between = torch.lerp(self.codebook.lookup(a), self.codebook.lookup(b), t)
        return nearest_grid(between, self.codebook.weight)
