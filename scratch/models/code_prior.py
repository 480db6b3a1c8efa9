"""The prior over codes: a transformer that writes the codes of an image one after another.

A VQ-VAE, a VQ-VAE-2 or a dVAE turns an image into a row of codes. This model learns which rows occur, so that it can
write new ones, which the decoder turns into new pictures. (Ramesh et al. 2021, arXiv:2102.12092)
"""

import math

import numpy as np

from data_utils import Data, printable
from scratch.arrays import array_module
from scratch.layers import Embedding, GridPositions, LayerNorm, LinearOfTokens, ToGrid, ToTokens, TransformerBlock
from scratch.layers.attention import KeysAndValues
from scratch.layers.positions import SCALE
from scratch.losses import CrossEntropy
from scratch.models.model import Model
from scratch.models.system import System
from scratch.module import Module, Sequential
from scratch.options.errors import InputError
from scratch.options.option import Option, Real, Text, Whole, listed


class CodeGrid(Module):
    """What belongs to one grid of codes: the vector of each code and of each place, and the logits of each place.

    Shapes: codes k (N, h·w) integers, row by row, vectors (N, h·w, E), logits (N, h·w, K).

        embed:   x = table[k] + the vector of the row + that of the column
        nats:    −Σ log softmax(y W + b)[k] over the grid, from the transformer's outputs y
    """

    def __init__(self, height, width, codes, size, *, dtype, rng):
        self.embedding = Embedding(codes, size, dtype=dtype, rng=rng)
        self.embedding.weight.value *= SCALE
        self.positions = GridPositions(height, width, size, dtype=dtype, rng=rng)
        self.head = LinearOfTokens(size, codes, dtype=dtype, rng=rng)
        self.to_grid, self.to_tokens, self.cross_entropy = ToGrid(height, width), ToTokens(), CrossEntropy()
        self.length = height * width

    def embed(self, k):
        x = self.to_grid.forward(self.embedding.forward(k))
        return self.to_tokens.forward(self.positions.forward(x))

    def embed_backward(self, dx):
        dx = self.positions.backward(self.to_tokens.backward(dx))
        self.embedding.backward(self.to_grid.backward(dx))

    def embed_one(self, k, place):
        """The vectors (N, 1, E) of codes (N,) at one place, counted row by row."""
        row, column = divmod(place, len(self.positions.columns.value))
        x = self.embedding.forward(k[:, None])
        return x + (self.positions.rows.value[row] + self.positions.columns.value[column])

    def nats(self, y, k):
        """(N,): −log p of each image's codes in this grid, each code given those before it."""
        return self.cross_entropy.elements(self.head.forward(y), k).sum(axis=1)

    def nats_backward(self, dL):
        return self.head.backward(self.cross_entropy.backward(dL))


class CodePrior(Model):
    """p(k | label) = Π_t p(k_t | k_1, …, k_{t−1}, label): each code by a softmax over what stands before it.

    Shapes: examples x (N, 1 + T) integers: the label, or 0 where there are none, then the T codes of an image, row by
    row, the grids of several levels one after another, the top one first.

        inputs    the label's vector (a start token without labels), then codes 1 to T − 1 with the vectors of their
                  places
        outputs   after causal transformer blocks and a norm: the logits of code 1 to T
        image     −(1/N) Σₙ log p(kₙ | labelₙ), in nats, summed over an image's codes

    The loss weighs `image` by 1/T: it is the mean over an image's codes. `noise` is that of the dropouts, two arrays
    (N, T, E) for each block.
    """

    writes_codes = True

    def __init__(self, grids, codes, width, heads, blocks, dropout, labels, *, dtype, rng):
        self.grids, self.codes, self.labels, self.width, self.dtype = grids, codes, labels, width, dtype
        settings = dict(dtype=dtype, rng=rng)
        self.start = Embedding(max(labels, 1), width, **settings)
        self.start.weight.value *= SCALE
        self.levels = Sequential(*(CodeGrid(*grid, codes, width, **settings) for grid in grids))
        self.blocks = Sequential(*(
            TransformerBlock(width, heads, 4 * width, dropout, causal=True, **settings) for _ in range(blocks)))
        self.norm = LayerNorm(width, dtype=dtype)
        self.length = sum(level.length for level in self.levels.layers)
        self.random, self.rng = dropout > 0, rng

    def stretches(self):
        """(level, where its codes stand among the T)."""
        start, found = 0, []
        for level in self.levels.layers:
            found.append((level, slice(start, start + level.length)))
            start += level.length
        return found

    def draw_noise(self, count, rng, other_rng=None):
        if not self.random:
            return None
        shape = (count, self.length, self.width)
        return [rng.random(shape, dtype=self.dtype) for _ in range(2 * len(self.blocks.layers))]

    def loss(self, x, noise=None):
        xp, codes = array_module(x), x[:, 1:]
        parts = [level.embed(codes[:, stretch]) for level, stretch in self.stretches()]
        y = xp.concatenate([self.start.forward(x[:, :1]), *parts], axis=1)[:, :-1]  # nothing follows the last code
        for number, block in enumerate(self.blocks.layers):
            y = block.forward(y, (None, None) if noise is None else noise[2 * number : 2 * number + 2])
        y = self.norm.forward(y)
        self.nats = sum(level.nats(y[:, stretch], codes[:, stretch]) for level, stretch in self.stretches())
        image = self.nats.mean()
        return image / self.length, {"image": image}

    def backward(self, scale=1.0):
        dnats = scale / self.length
        parts = [level.nats_backward(dnats) for level, _ in reversed(self.stretches())]
        dy = self.norm.backward(array_module(parts[0]).concatenate(parts[::-1], axis=1))
        for block in reversed(self.blocks.layers):
            dy = block.backward(dy)
        self.start.backward(dy[:, :1])
        last = array_module(dy).zeros_like(dy[:, :1])  # the last code was no input
        dx = array_module(dy).concatenate([dy[:, 1:], last], axis=1)
        for level, stretch in self.stretches():
            level.embed_backward(dx[:, stretch])

    def observed(self):
        """The bits of an image's codes: −log₂ p(k | label), averaged over the batch."""
        return {"bits": self.nats.mean() / math.log(2)}, {}

    def write(self, labels, choose, known=None):
        """(N, T): codes written one after another. With the keys and values of earlier codes kept, each code costs a
        product with T rows at most.

        labels   (N,) integers
        choose   (logits (N, K), place) -> codes (N,)
        known    (N, t) codes that come first; the rest is written
        """
        past = [KeysAndValues(self.length) for _ in self.blocks.layers]
        written = []
        with self.evaluating():
            y = self.start.forward(labels[:, None])
            for level, stretch in self.stretches():
                for place in range(level.length):
                    logits = level.head.forward(self.norm.forward(self.pass_blocks(y, past)))[:, -1]
                    at = stretch.start + place
                    is_known = known is not None and at < known.shape[1]
                    written.append(known[:, at] if is_known else choose(logits, at))
                    y = level.embed_one(written[-1], place)
        return array_module(labels).stack(written, axis=1)

    def as_grids(self, codes):
        """Codes (N, T) as the grids (N, h, w) of their levels: a list, or of one level the grid itself."""
        found = [codes[:, stretch].reshape(len(codes), *grid)
                 for grid, (_, stretch) in zip(self.grids, self.stretches(), strict=True)]
        return found if len(found) > 1 else found[0]

    def nats_of(self, x):
        """(N,): −log p(k | label) of each row x."""
        with self.evaluating():
            self.loss(x)
            return self.nats

    def pass_blocks(self, y, past):
        for block, before in zip(self.blocks.layers, past, strict=True):
            y = block.forward(y, past=before)
        return y


class Codes(Data):
    """Rows of codes (N, 1 + T), int64, with a label before each."""

    def describe(self):
        return f"{self.name}: {len(self.train)} training and {len(self.held_out)} held-out rows of codes"


def read_grids(text):
    """"4x4,8x8" as ((4, 4), (8, 8)). Raises InputError for anything else."""
    try:
        grids = tuple(tuple(map(int, grid.split("x"))) for grid in text.split(","))
    except ValueError:
        grids = ()
    if not grids or any(len(grid) != 2 or min(grid) < 1 or max(grid) > 4096 for grid in grids):
        raise InputError(f"expected the sizes of grids such as 8x8 or 4x4,8x8, got {text!r}.", "grids")
    return grids


class Prior(System, name="prior"):
    """The prior over the codes of a finished run."""

    options = (
        Option("width", Whole(1), 128, "numbers for a code between the blocks"),
        Option("heads", Whole(1), 4, "heads of attention; they divide the width"),
        Option("blocks", Whole(1), 4, "transformer blocks"),
        Option("dropout", Real(0, below=1), 0.1, "share of the numbers that training leaves out"),
        Option("codes", Whole(1), None, "codes to choose from; none: those of the run", optional=True),
        Option("grids", Text("sizes such as 8x8"), None, "the grids of codes; none: those of the run", optional=True),
        Option("labels", Whole(0), None, "how many labels there are; none: those of the data", optional=True),
    )
    data_options = (
        Option("of", Text("the folder of a run", "RUN"), None, "the run whose codes are learned", may_change=True,
               group="codes"),
        Option("given", Text("none, or the name of a factor such as label"), "none",
               "what is known of an image and comes before its codes", group="codes"),
    )
    axes = 1
    recommended = {  # noqa: RUF012
        "lr": "warmup:100:1e-3", "weight_decay": 0.01, "decay": "matrices", "clip_norm": 1.0}

    def check(self, options, given):
        if options["width"] % options["heads"]:
            raise InputError(f"{options['heads']} heads cannot share a width of {options['width']} equally: choose a "
                             f"number that divides it.", "heads")
        if options["grids"] is not None:
            read_grids(options["grids"])

    def build(self, shape, options, *, dtype, rng):
        if missing := [name for name in ("codes", "grids", "labels") if options[name] is None]:
            raise InputError("is missing: a run that it learns from says it, or give it.", missing[0])
        grids = read_grids(options["grids"])
        length = sum(height * width for height, width in grids)
        if shape[0] != 1 + length:
            raise InputError(f"grids of {options['grids']} have {length} codes, and the rows have {shape[0] - 1} "
                             f"behind their label.", "grids")
        sizes = (options[name] for name in ("width", "heads", "blocks", "dropout", "labels"))
        return CodePrior(grids, options["codes"], *sizes, dtype=dtype, rng=rng or np.random.default_rng())

    def references(self, options):
        return {"of": options["of"]}

    def load_data(self, options, download=False, runs=None):
        trained, data = runs["of"]
        if not trained.codes:
            raise InputError(f"is a run of {trained.options['model']}, which has no codes: name one of a vqvae, a "
                             f"vqvae2 or a dvae.", "of")
        labels = [np.zeros(len(images), np.int64) for images in (data.train, data.held_out)]
        count = 0
        if (given := options["given"]) != "none":
            whole = [name for name, values in data.factors.items() if values.dtype.kind in "iu" and values.ndim == 1]
            if given not in whole:
                raise InputError(f"is {printable(given)!r}, and of {printable(data.name)} is known: "
                                 f"{listed(['none', *whole], 'or')}.", "given")
            labels = [factors[given].astype(np.int64) for factors in (data.factors, data.held_out_factors)]
            count = 1 + int(max(part.max() for part in labels))
        rows, grids = [], None
        for images, of_images in zip((data.train, data.held_out), labels, strict=True):
            found = trained.encode(images)
            found = found if isinstance(found, list) else [found]
            grids = ",".join(f"{grid.shape[1]}x{grid.shape[2]}" for grid in found)
            rows.append(np.concatenate([of_images[:, None], *(grid.reshape(len(grid), -1) for grid in found)], axis=1))
        determines = {"codes": int(trained.codes), "grids": grids, "labels": count}
        return Codes(f"codes of {data.name}", *rows, data.factors, data.held_out_factors,
                     determines=determines)
