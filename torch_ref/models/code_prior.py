"""The prior over codes in PyTorch."""

import math

import torch
from torch import nn

from torch_ref.layers import GridPositions, ToGrid, ToTokens, TransformerBlock
from torch_ref.models.model import Model
from torch_ref.options import Option, number, optional, whole


def check_grids(text):
    """Raises ValueError for anything but the sizes of grids, such as "4x4,8x8"."""
    try:
        read_grids(text)
    except (AttributeError, ValueError):
        raise ValueError("expected the sizes of grids such as 8x8 or 4x4,8x8") from None


def read_grids(text):
    """"4x4,8x8" as [(4, 4), (8, 8)]."""
    grids = [tuple(int(side) for side in grid.split("x")) for grid in text.split(",")]
    if any(len(grid) != 2 or min(grid) < 1 for grid in grids):
        raise ValueError
    return grids


class CodeGrid(nn.Module):
    """The embedding, the positions and the head of one grid."""

    def __init__(self, height, width, codes, size, dtype):
        super().__init__()
        self.embedding = nn.Embedding(codes, size, dtype=dtype)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.positions = GridPositions(height, width, size, dtype=dtype)
        self.head = nn.Linear(size, codes, dtype=dtype)
        self.to_grid, self.to_tokens, self.length = ToGrid(height, width), ToTokens(), height * width

    def embed(self, codes):
        return self.to_tokens(self.positions(self.to_grid(self.embedding(codes))))


class CodePrior(Model, system="prior"):
    """p(codes | label), the codes of all grids in one row behind the label. x (N, 1 + T) integers."""

    options = {
        "width": whole(128), "heads": whole(4), "blocks": whole(4), "dropout": number(0.1, below=1),
        "codes": optional(whole(None)), "grids": optional(Option(None, check_grids)),
        "labels": optional(whole(None, least=0)),
    }

    def __init__(self, shape, width, heads, blocks, dropout, codes, grids, labels, dtype):
        super().__init__()
        if width % heads:
            raise ValueError(f"heads is {heads}, which does not divide the width {width}")
        if None in (codes, grids, labels):
            raise ValueError("codes, grids and labels are needed")
        grids = read_grids(grids)
        if shape[0] != 1 + sum(height * width for height, width in grids):
            raise ValueError(f"grids of {grids} do not fill rows of {shape[0]}")
        self.start = nn.Embedding(max(labels, 1), width, dtype=dtype)
        nn.init.normal_(self.start.weight, std=0.02)
        self.levels = nn.ModuleList(CodeGrid(*grid, codes, width, dtype) for grid in grids)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, 4 * width, causal=True, dtype=dtype) for _ in range(blocks))
        self.norm = nn.LayerNorm(width, dtype=dtype)
        self.dropout, self.width = dropout, width

    def draw_noise(self, count, rng, other_rng=None):
        if not self.dropout:
            return None
        shape = (count, sum(level.length for level in self.levels), self.width)
        dtype = str(self.norm.weight.dtype).removeprefix("torch.")
        return [rng.random(shape, dtype=dtype) for _ in range(2 * len(self.blocks))]

    def loss(self, x, noise=None):
        lengths = [level.length for level in self.levels]
        codes = x[:, 1:].split(lengths, dim=1)
        y = torch.cat([self.start(x[:, :1]), *(level.embed(k) for level, k in zip(self.levels, codes, strict=True))], 1)
        y = y[:, :-1]
        for i, block in enumerate(self.blocks):
            drops = noise is not None and self.training
            y = self.with_dropout(block, y, *noise[2 * i : 2 * i + 2]) if drops else block(y)
        y = self.norm(y).split(lengths, dim=1)
        self.nats = sum(
            nn.functional.cross_entropy(level.head(part).flatten(0, 1), k.flatten(), reduction="sum") / len(x)
            for level, part, k in zip(self.levels, y, codes, strict=True))
        return self.nats / sum(lengths), {"image": self.nats}

    def with_dropout(self, block, x, first, second):
        """The block with dropouts whose noise is given."""
        def drop(branch, noise):
            return branch * (noise >= self.dropout) / (1 - self.dropout)

        normed, T = block.norm1(x), x.shape[1]
        hidden = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
        x = x + drop(block.self_attn(normed, normed, normed, attn_mask=hidden, need_weights=False)[0], first)
        return x + drop(block.linear2(block.activation(block.linear1(block.norm2(x)))), second)

    def observed(self):
        return {"bits": self.nats / math.log(2)}, {}
