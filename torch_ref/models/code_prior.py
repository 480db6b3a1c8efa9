"""The prior over codes in PyTorch."""

import math

import torch
from torch import nn

from torch_ref.layers import GridPositions, ToGrid, TokenPositions, ToTokens, TransformerBlock
from torch_ref.models.model import Model
from torch_ref.options import Option, number, optional, whole


def check_grids(text):
    """Raises ValueError for anything but the sizes of grids, such as "4x4,8x8" or "8x8x2"."""
    try:
        read_grids(text)
    except (AttributeError, ValueError):
        raise ValueError("expected the sizes of grids such as 8x8 or 4x4,8x8 or, with 2 codes a position, 8x8x2"
                         ) from None


def read_grids(text):
    """"4x4,8x8x2" as [(4, 4, 1), (8, 8, 2)]: height, width, and how many codes a position has."""
    grids = [tuple(int(side) for side in grid.split("x")) for grid in text.split(",")]
    if any(len(grid) not in (2, 3) or min(grid) < 1 for grid in grids):
        raise ValueError
    return [(*grid, 1)[:3] for grid in grids]


class CodeGrid(nn.Module):
    """The embedding, the positions and the head of one grid of codes, or of one group of such a grid."""

    def __init__(self, height, width, codes, size, dtype):
        super().__init__()
        self.embedding = nn.Embedding(codes, size, dtype=dtype)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.positions = GridPositions(height, width, size, dtype=dtype)
        self.head = nn.Linear(size, codes, dtype=dtype)
        self.to_grid, self.to_tokens = ToGrid(height, width), ToTokens()

    def embed(self, codes):
        return self.to_tokens(self.positions(self.to_grid(self.embedding(codes))))

    def targets(self, codes):
        return codes


class Caption(nn.Module):
    """The same of a caption, whose empty places hold `end`. Of these only the first is predicted."""

    def __init__(self, length, vocabulary, size, dtype):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary + 1, size, dtype=dtype)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.positions = TokenPositions(length, size, dtype=dtype)
        self.head = nn.Linear(size, vocabulary + 1, dtype=dtype)
        self.end = vocabulary

    def embed(self, tokens):
        return self.positions(self.embedding(tokens))

    def targets(self, tokens):
        ends = (tokens == self.end).cumsum(dim=1)
        return tokens.masked_fill(ends > 1, -100)


class CodePrior(Model, system="prior"):
    """p(text, codes | label): the caption, then the codes of all grids in one row. x (N, 1 + S + T) integers."""

    options = {
        "width": whole(128), "heads": whole(4), "blocks": whole(4), "dropout": number(0.1, below=1),
        "vocabulary": whole(512, least=256), "codes": optional(whole(None)),
        "grids": optional(Option(None, check_grids)), "labels": optional(whole(None, least=0)),
        "text_length": optional(whole(None, least=0)),
    }

    def __init__(self, shape, width, heads, blocks, dropout, vocabulary, codes, grids, labels, text_length, dtype):
        super().__init__()
        if width % heads:
            raise ValueError(f"heads is {heads}, which does not divide the width {width}")
        if None in (codes, grids, labels):
            raise ValueError("codes, grids and labels are needed")
        grids, text_length = read_grids(grids), text_length or 0
        T = sum(math.prod(grid) for grid in grids)
        if shape[0] != 1 + text_length + T:
            raise ValueError(f"grids of {grids} and {text_length} tokens of text do not fill rows of {shape[0]}")
        self.start = nn.Embedding(max(labels, 1), width, dtype=dtype)
        nn.init.normal_(self.start.weight, std=0.02)
        self.text = Caption(text_length, vocabulary, width, dtype) if text_length else None
        self.levels = nn.ModuleList(CodeGrid(rows, columns, codes, width, dtype)
                                    for rows, columns, groups in grids for _ in range(groups))
        self.stretches = [(text_length, 1)] * bool(text_length) + [(math.prod(grid), grid[2]) for grid in grids]
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, 4 * width, causal=True, dtype=dtype) for _ in range(blocks))
        self.norm = nn.LayerNorm(width, dtype=dtype)
        self.dropout, self.width = dropout, width
        self.weights = {"image": 1 / T} if self.text is None else {"text": 1 / 8 / text_length, "image": 7 / 8 / T}

    def parts(self):
        return [*([] if self.text is None else [self.text]), *self.levels]

    def by_part(self, row):
        """The places (N, S + T, ...) of a row as a list: those of the caption, then of each group of each grid."""
        found, lengths = [], [length for length, _ in self.stretches]
        for stretch, (_, groups) in zip(row.split(lengths, dim=1), self.stretches, strict=True):
            found += stretch.unflatten(1, (-1, groups)).unbind(2)
        return found

    def in_turns(self, parts):
        """The inverse of `by_part`."""
        parts = iter(parts)
        return torch.cat([torch.stack([next(parts) for _ in range(groups)], dim=2).flatten(1, 2)
                          for _, groups in self.stretches], dim=1)

    def draw_noise(self, count, rng, other_rng=None):
        if not self.dropout:
            return None
        shape = (count, sum(length for length, _ in self.stretches), self.width)
        dtype = str(self.norm.weight.dtype).removeprefix("torch.")
        return [rng.random(shape, dtype=dtype) for _ in range(2 * len(self.blocks))]

    def loss(self, x, noise=None):
        parts, tokens = self.parts(), self.by_part(x[:, 1:])
        known = self.in_turns(part.embed(k) for part, k in zip(parts, tokens, strict=True))
        y = torch.cat([self.start(x[:, :1]), known[:, :-1]], dim=1)
        for i, block in enumerate(self.blocks):
            drops = noise is not None and self.training
            y = self.with_dropout(block, y, *noise[2 * i : 2 * i + 2]) if drops else block(y)
        y = self.by_part(self.norm(y))
        nats = [nn.functional.cross_entropy(part.head(h).flatten(0, 1), part.targets(k).flatten(), reduction="sum")
                / len(x) for part, h, k in zip(parts, y, tokens, strict=True)]
        self.terms = {"image": sum(nats)} if self.text is None else {"text": nats[0], "image": sum(nats[1:])}
        return sum(self.weights[name] * term for name, term in self.terms.items()), self.terms

    def with_dropout(self, block, x, first, second):
        """The block with dropouts whose noise is given."""
        def drop(branch, noise):
            return branch * (noise >= self.dropout) / (1 - self.dropout)

        normed, T = block.norm1(x), x.shape[1]
        hidden = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
        x = x + drop(block.self_attn(normed, normed, normed, attn_mask=hidden, need_weights=False)[0], first)
        return x + drop(block.linear2(block.activation(block.linear1(block.norm2(x)))), second)

    def observed(self):
        return {"bits": self.terms["image"] / math.log(2)}, {}
