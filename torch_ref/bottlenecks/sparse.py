"""The AE's bottleneck with a sparse code."""

import torch
from torch.nn import functional as F

from torch_ref.bottlenecks.dense import DenseBottleneck
from torch_ref.options import schedule


class SparseBottleneck(DenseBottleneck, variant=True):
    """DenseBottleneck behind a ReLU, with the L1 norm of the code; reports the share of zeros in it."""

    options = {"sparsity": schedule(0.0)}

    def weights(self, options, image_shape):
        return {"reconstruction": 1.0, "l1": options["sparsity"]}

    def forward(self, h, noise=None):
        z = self.encode(h)
        self.measured = {"share_of_zeros": (z == 0).to(z.dtype).mean()}
        return self.decode(z), {"l1": torch.linalg.vector_norm(z, ord=1, dim=1).mean()}

    def encode(self, h):
        return F.relu(super().encode(h))
