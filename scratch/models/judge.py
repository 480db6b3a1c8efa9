"""The judge: a classifier that names what a drawn shape shows, in the words of its captions.

It says whether generated images show what their captions ask for. It learns from drawn shapes alone and never sees a
generated image. (data_utils/captions.py has the words)
"""

import math
from itertools import pairwise

import numpy as np

from data_utils import KINDS, Data, load, word_indices
from scratch.arrays import array_module
from scratch.layers import BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU
from scratch.losses import CrossEntropy
from scratch.models.model import Model
from scratch.models.system import System
from scratch.module import Sequential
from scratch.options.errors import InputError
from scratch.options.option import Option, Real, Widths
from scratch.options.training import DRAWN, IMAGE_SIZE, LIMIT

WORDS = {kind: len(words) for kind, (_, words) in KINDS.items()}  # how many words of each kind there are
CHANNELS = 3  # of a drawn image


class Judge(Model):
    """p(word of a kind | image), a softmax over the words of each of six kinds.

    Shapes: examples x (N, S·S·3 + 6), uint8: the pixels of an image, then the index of its word of each kind;
    logits (N, 25), those of the kinds beside each other.

        features   conv3×3, BatchNorm, ReLU and the maximum of each 2×2 pixels, for each entry of `channels`; the last
                   convolution is not pooled
        loss       −(1/N) Σₙ log p(word of imageₙ), a term for each kind, each with the weight 1

    In training an image gets Gaussian noise of the deviation u · `most`, with u drawn from [0, 1) for each image: a
    judge of perfect images alone would stumble over every speck of an imperfect one. `noise` is [ε (N, S, S, 3), u
    (N, 1, 1, 1)].
    """

    random = True

    def __init__(self, side, channels, most, *, dtype, rng):
        self.side, self.most, self.dtype, layers = side, most, np.dtype(dtype), []
        for fewer, more in pairwise((CHANNELS, *channels)):
            convolution = Conv2d(fewer, more, 3, padding=1, bias=False, dtype=dtype, rng=rng)
            layers += [convolution, BatchNorm2d(more, dtype=dtype), ReLU(), MaxPool2d(2)]
        layers[0].needs_input_gradient = False
        features = channels[-1] * (side >> len(channels) - 1) ** 2
        self.network = Sequential(*layers[:-1], Flatten(), Linear(features, sum(WORDS.values()), dtype=dtype, rng=rng))
        self.losses = {kind: CrossEntropy() for kind in WORDS}
        self.weights = self.schedules = dict.fromkeys(WORDS, 1.0)

    def logits(self, images):
        """{kind: (N, words)} of images (N, S, S, 3), floats in [0, 1]."""
        a = self.network.forward(images)
        ends = np.cumsum(list(WORDS.values())).tolist()
        return {kind: a[:, end - WORDS[kind] : end] for kind, end in zip(WORDS, ends, strict=True)}

    def words(self, images):
        """(N, 6): the most probable word of each kind, as an index."""
        with self.evaluating():
            found = [a.argmax(axis=1) for a in self.logits(images).values()]
        return array_module(images).stack(found, axis=1)

    def draw_noise(self, count, rng, other_rng=None):
        shape = (count, self.side, self.side, CHANNELS)
        return [rng.standard_normal(shape, dtype=self.dtype), rng.random((count, 1, 1, 1), dtype=self.dtype)]

    def loss(self, x, noise=None):
        pixels, words = x[:, : -len(WORDS)], x[:, -len(WORDS) :].astype(np.int64)
        images = (pixels.astype(self.dtype) / 255).reshape(len(x), self.side, self.side, CHANNELS)
        if self.training and noise is not None:
            eps, u = noise
            images = images + eps * (self.most * u)
        terms, right = {}, []
        for number, (kind, a) in enumerate(self.logits(images).items()):
            terms[kind] = self.losses[kind].loss(a, words[:, number])
            right.append(a.argmax(axis=1) == words[:, number])
        self.right = array_module(x).stack(right)
        return sum(terms.values()), terms

    def backward(self, scale=1.0):
        parts = [cross_entropy.backward(scale) for cross_entropy in self.losses.values()]
        self.network.backward(array_module(parts[0]).concatenate(parts, axis=1))

    def observed(self):
        """The share of right words, and the share of images with all words right."""
        return {"words_right": self.right.mean(dtype=self.dtype),
                "images_right": self.right.all(axis=0).mean(dtype=self.dtype)}, {}


class Worded(Data):
    """Drawn shapes with their words, as rows (N, S·S·3 + 6) of uint8."""

    def describe(self):
        return f"{self.name}: {len(self.train)} training and {len(self.held_out)} held-out images with their words"


def with_words(images, factors):
    """Rows (N, S·S·3 + 6), uint8: images (N, S, S, 3) and the index of the word of each kind."""
    words = np.stack(list(word_indices(factors).values()), axis=1)
    return np.concatenate([images.reshape(len(images), -1), words.astype(np.uint8)], axis=1)


class JudgeOfShapes(System, name="judge"):
    """The classifier of a drawn shape's words."""

    options = (
        Option("channels", Widths(), [32, 64, 128, 128], "channels of the convolutions"),
        Option("noise", Real(0), 0.1, "the largest deviation of the noise that training adds to pixels"),
    )
    data_options = (DRAWN.but(default=60_000), IMAGE_SIZE, LIMIT)
    axes = 1
    recommended = {"lr": "cosine:2e-3:1e-5:3752", "epochs": 4}  # noqa: RUF012

    def build(self, shape, options, *, dtype, rng):
        side, channels = math.isqrt(shape[0] // CHANNELS), options["channels"]
        if shape[0] != CHANNELS * side**2 + len(WORDS):
            raise InputError(f"expected rows of a square image of 3 channels and {len(WORDS)} words, got {shape[0]} "
                             f"numbers.", "shape")
        if side % (halvings := 2 ** (len(channels) - 1)):
            raise InputError(f"has {len(channels)} entries, which halve the image to 1/{halvings}, and {side} pixels "
                             f"are not divisible by that: give fewer.", "channels")
        return Judge(side, channels, options["noise"], dtype=dtype, rng=rng or np.random.default_rng())

    def load_data(self, options, download=False, runs=None):
        data = load("shapes", limit=options["limit"], image_size=options["image_size"], seed=options["seed"],
                    drawn=options["drawn"])
        return Worded("shapes", with_words(data.train, data.factors), with_words(data.held_out, data.held_out_factors),
                      data.factors, data.held_out_factors)
