"""The prior over codes: a transformer that writes the codes of an image one after another.

A VQ-VAE, a VQ-VAE-2 or a dVAE turns an image into a row of codes. This model learns which rows occur, so that it can
write new ones, which the decoder turns into new pictures. With captions it learns which codes follow which words: that
is DALL·E's second half. (Ramesh et al. 2021, arXiv:2102.12092)
"""

import math

from scratch.arrays import array_module
from scratch.layers import (
    Embedding,
    GridPositions,
    LayerNorm,
    LinearOfTokens,
    ToGrid,
    TokenPositions,
    ToTokens,
    TransformerBlock,
)
from scratch.layers.attention import KeysAndValues
from scratch.layers.positions import SCALE
from scratch.losses import CrossEntropy
from scratch.models.model import Model
from scratch.module import Module, Sequential

IGNORED = -100  # the label of a place that counts nothing in the loss


class Stretch(Module):
    """A part of a row whose tokens come from one alphabet: the vector of each token and place, and the logits there.

    Shapes: tokens k (N, T) integers, vectors x (N, T, E), the transformer's outputs y (N, T, E), logits (N, T, K).

        embed:   x = table[k] + the vectors of the places
        nats:    −log softmax(y W + b)[k], summed over the places
    """

    def __init__(self, positions, length, tokens, size, *, dtype, rng):
        self.embedding = Embedding(tokens, size, dtype=dtype, rng=rng)
        self.embedding.weight.value *= SCALE
        self.positions, self.length = positions, length
        self.head = LinearOfTokens(size, tokens, dtype=dtype, rng=rng)
        self.cross_entropy = CrossEntropy(ignore_index=IGNORED)

    def embed(self, k):
        """The vectors x (N, T, E) of tokens k (N, T)."""
        return self.positions.forward(self.embedding.forward(k))

    def embed_backward(self, dx):
        """Adds the gradients of the table and of the places, from ∂L/∂x."""
        self.embedding.backward(self.positions.backward(dx))

    def embed_one(self, k, place):
        """The vectors (N, 1, E) of tokens (N,) at one place."""
        return self.embedding.forward(k[:, None]) + self.vector_of(place)

    def nats(self, y, k):
        """(N,): −log p of each row's tokens in this stretch, each token given those before it."""
        return self.cross_entropy.elements(self.head.forward(y), self.labels(k)).sum(axis=1)

    def nats_backward(self, dL):
        """∂L/∂y, where dL is ∂L with respect to the mean of `nats` over the batch."""
        return self.head.backward(self.cross_entropy.backward(dL))

    def labels(self, k):
        """What the loss compares with: the tokens, or IGNORED at a place that counts nothing."""
        return k

    def after(self, k, written):
        """The tokens (N,) to write, where k were chosen after those already `written`."""
        return k


class CodeGrid(Stretch):
    """A grid of codes, row by row. A place has the vector of its row plus that of its column.

    Where a position has G codes, each group of codes is such a grid, with an alphabet and vectors of its own.
    """

    def __init__(self, height, width, codes, size, *, dtype, rng):
        positions = GridPositions(height, width, size, dtype=dtype, rng=rng)
        super().__init__(positions, height * width, codes, size, dtype=dtype, rng=rng)
        self.to_grid, self.to_tokens, self.width = ToGrid(height, width), ToTokens(), width

    def embed(self, k):
        x = self.to_grid.forward(self.embedding.forward(k))
        return self.to_tokens.forward(self.positions.forward(x))

    def embed_backward(self, dx):
        dx = self.positions.backward(self.to_tokens.backward(dx))
        self.embedding.backward(self.to_grid.backward(dx))

    def vector_of(self, place):
        """The vector (E,) of a place, counted row by row."""
        row, column = divmod(place, self.width)
        return self.positions.rows.value[row] + self.positions.columns.value[column]


class Caption(Stretch):
    """The tokens of a caption, and after them the token `end` at all places that are left.

    The first `end` counts in the loss: it says that the caption is over. The others follow from it and count nothing.
    As in DALL·E, each empty place still has a vector of its own: that of `end` plus that of the place.
    """

    def __init__(self, length, vocabulary, size, *, dtype, rng):
        positions = TokenPositions(length, size, dtype=dtype, rng=rng)
        super().__init__(positions, length, vocabulary + 1, size, dtype=dtype, rng=rng)
        self.end = vocabulary

    def vector_of(self, place):
        """The vector (E,) of a place."""
        return self.positions.places.value[place]

    def labels(self, k):
        xp = array_module(k)
        is_over = xp.zeros(k.shape, bool)
        is_over[:, 1:] = k[:, :-1] == self.end
        return xp.where(is_over, IGNORED, k)

    def after(self, k, written):
        return array_module(k).where(written[-1] == self.end, self.end, k) if written else k


def groups_of(grid):
    """G, the codes at a position of a grid (h, w, G); 1 for (h, w)."""
    return grid[2] if len(grid) > 2 else 1


class CodePrior(Model):
    """p(text, codes | label) = Π_t p(k_t | k_1, …, k_{t−1}, label): each token by a softmax over what stands before it.

    Shapes: examples x (N, 1 + S + T) integers: the label, or 0 where there are none; the S tokens of a caption, S = 0
    without captions; the T codes of an image, row by row, the grids of several levels one after another, the top one
    first. A grid (h, w, G) has G codes at each position, which stand one after another.

        inputs    the label's vector (a start token without labels), then the vectors of all tokens but the last
        outputs   after causal transformer blocks and a norm: the logits of all tokens
        text      −(1/N) Σₙ log p(captionₙ), in nats
        image     −(1/N) Σₙ log p(codesₙ | captionₙ, labelₙ), in nats, summed over an image's codes

    The loss weighs `image` by 1/T: it is the mean over an image's codes. With captions the weights are those of
    DALL·E, 1/(8 S) for `text` and 7/(8 T) for `image`: mostly images are to be learned. S counts all places of a
    caption, also those that it leaves empty. `noise` is that of the dropouts, two arrays (N, S + T, E) for each block.
    """

    writes_codes = True

    def __init__(self, grids, codes, width, heads, blocks, dropout, labels, text_length=0, vocabulary=0, *, dtype, rng):
        self.grids, self.codes, self.labels, self.width, self.dtype = grids, codes, labels, width, dtype
        settings = dict(dtype=dtype, rng=rng)
        self.start = Embedding(max(labels, 1), width, **settings)
        self.start.weight.value *= SCALE
        self.text = Caption(text_length, vocabulary, width, **settings) if text_length else None
        self.levels = Sequential(*(CodeGrid(*grid[:2], codes, width, **settings)
                                   for grid in grids for _ in range(groups_of(grid))))
        self.blocks = Sequential(*(
            TransformerBlock(width, heads, 4 * width, dropout, causal=True, **settings) for _ in range(blocks)))
        self.norm = LayerNorm(width, dtype=dtype)
        T = sum(map(math.prod, grids))
        self.text_length, self.length = text_length, text_length + T
        self.weights = {"text": 1 / (8 * text_length), "image": 7 / (8 * T)} if text_length else {"image": 1 / T}
        self.schedules = self.weights
        self.random = dropout > 0

    def stretches(self):
        """[(the part of the model, where its tokens stand among the S + T)]. The groups of a grid take turns."""
        found, start, levels = [], self.text_length, iter(self.levels.layers)
        if self.text:
            found.append((self.text, slice(0, start)))
        for grid in self.grids:
            end, groups = start + math.prod(grid), groups_of(grid)
            found += [(next(levels), slice(start + group, end, groups)) for group in range(groups)]
            start = end
        return found

    def places(self):
        """[(the part of the model, the token's place within it)] of the S + T tokens, from the first to the last."""
        found = [None] * self.length
        for part, stretch in self.stretches():
            found[stretch] = [(part, place) for place in range(part.length)]
        return found

    def in_row(self, parts):
        """(N, S + T, E): the vectors (N, t, E) of each stretch, at the places of its tokens."""
        xp, first = array_module(parts[0]), parts[0]
        row = xp.empty((len(first), self.length, self.width), first.dtype)
        for vectors, (_, stretch) in zip(parts, self.stretches(), strict=True):
            row[:, stretch] = vectors
        return row

    def term_of(self, part):
        """The name of the loss term to which a part's tokens belong."""
        return "text" if part is self.text else "image"

    def draw_noise(self, count, rng, other_rng=None):
        if not self.random:
            return None
        shape = (count, self.length, self.width)
        return [rng.random(shape, dtype=self.dtype) for _ in range(2 * len(self.blocks.layers))]

    def nats_by_term(self, x, noise=None):
        """{term: (N,) nats of each row x}, the sum over the term's tokens of −log p of each after those before it."""
        xp, tokens = array_module(x), x[:, 1:]
        parts = [part.embed(tokens[:, stretch]) for part, stretch in self.stretches()]
        known = self.in_row(parts)[:, :-1]  # nothing follows the last token
        y = xp.concatenate([self.start.forward(x[:, :1]), known], axis=1)
        for number, block in enumerate(self.blocks.layers):
            y = block.forward(y, (None, None) if noise is None else noise[2 * number : 2 * number + 2])
        y = self.norm.forward(y)
        found = dict.fromkeys(self.weights, 0)
        for part, stretch in self.stretches():
            found[self.term_of(part)] += part.nats(y[:, stretch], tokens[:, stretch])
        return found

    def loss(self, x, noise=None):
        self.nats = self.nats_by_term(x, noise)
        terms = {name: nats.mean() for name, nats in self.nats.items()}
        return sum(self.weights[name] * term for name, term in terms.items()), terms

    def backward(self, scale=1.0):
        xp = array_module(self.start.weight.value)
        parts = [part.nats_backward(scale * self.weights[self.term_of(part)]) for part, _ in self.stretches()]
        dy = self.norm.backward(self.in_row(parts))
        for block in reversed(self.blocks.layers):
            dy = block.backward(dy)
        self.start.backward(dy[:, :1])
        dx = xp.concatenate([dy[:, 1:], xp.zeros_like(dy[:, :1])], axis=1)  # the last token was no input
        for part, stretch in self.stretches():
            part.embed_backward(dx[:, stretch])

    def observed(self):
        """The bits of an image's codes: −log₂ p(codes | caption, label), averaged over the batch."""
        return {"bits": self.nats["image"].mean() / math.log(2)}, {}

    def write(self, labels, choose, known=None, count=None):
        """(N, count): tokens written one after another. With the keys and values of earlier tokens kept, each token
        costs a product with S + T rows at most.

        labels   (N,) integers
        choose   (logits (N, K), place) -> tokens (N,)
        known    (N, t) tokens that come first, such as a caption's; the rest is written
        count    how many tokens in all; None: all S + T
        """
        known = array_module(labels).empty((len(labels), 0), int) if known is None else known
        past = [KeysAndValues(self.length) for _ in self.blocks.layers]
        written, count = [], self.length if count is None else count
        with self.evaluating():
            y = self.start.forward(labels[:, None])
            for at, (part, place) in enumerate(self.places()[:count]):
                y = self.pass_blocks(y, past)
                if at < known.shape[1]:
                    token = known[:, at]
                else:
                    token = part.after(choose(part.head.forward(self.norm.forward(y))[:, -1], at), written)
                written.append(token)
                y = part.embed_one(token, place)
        return array_module(labels).stack(written, axis=1)

    def as_grids(self, codes):
        """Codes (N, T) as the grids (N, h, w) or (N, h, w, G) of their levels: a list, or of one level the grid itself.
        """
        found, start = [], 0
        for grid in self.grids:
            end = start + math.prod(grid)
            found.append(codes[:, start:end].reshape(-1, *grid))
            start = end
        return found if len(found) > 1 else found[0]

    def nats_of(self, x):
        """(N,): −log p(codes | caption, label) of each row x."""
        with self.evaluating():
            return self.nats_by_term(x)["image"]

    def pass_blocks(self, y, past):
        """The blocks' outputs (N, 1, E) for one more token, whose predecessors are in `past`."""
        for block, before in zip(self.blocks.layers, past, strict=True):
            y = block.forward(y, past=before)
        return y
