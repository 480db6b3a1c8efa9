"""The system `prior`: its options, and the rows of tokens that it learns from, out of a finished run and its images."""

import math
from dataclasses import dataclass

import numpy as np

from data_utils import Data, DataError, Tokenizer, captions_of, printable
from scratch.models.code_prior import CodePrior
from scratch.models.system import System, find_system
from scratch.options.errors import InputError
from scratch.options.option import MOST_BLOCKS, Option, Real, Text, Whole, listed, shown
from scratch.options.training import DRAWN, WITHOUT

MOST_TOKENS = 4096  # of a caption


@dataclass(frozen=True, eq=False)
class Codes(Data):
    """Rows of tokens (N, 1 + S + T), int64, with a label before each.

    tokenizer   what made tokens of the captions; None without captions
    """

    tokenizer: Tokenizer | None = None

    def describe(self):
        return f"{self.name}: {len(self.train)} training and {len(self.held_out)} held-out rows of codes"


def read_grids(text):
    """"4x4,8x8x2" as ((4, 4), (8, 8, 2)). Raises InputError for anything else."""
    try:
        grids = tuple(tuple(map(int, grid.split("x"))) for grid in text.split(","))
    except ValueError:
        grids = ()
    if not grids or any(len(grid) not in (2, 3) or min(grid) < 1 or max(grid) > 4096 for grid in grids):
        raise InputError(f"expected the sizes of grids such as 8x8 or 4x4,8x8 or, with 2 codes a position, 8x8x2, got "
                         f"{shown(text)}.", "grids")
    return grids


def caption_tokens(tokenizer, texts, end, length=None):
    """(N, S) int64: the tokens of each text, then `end` at the places that are left.

    length   S; None: as many as the longest text has
    Raises InputError for a text without a token, for one with half a surrogate pair, and for one of more tokens than
    `length` or MOST_TOKENS.
    """
    try:
        rows = [tokenizer.encode(text.strip()) for text in texts]
    except DataError as error:
        raise InputError(f"is wrong: {error}.", "text") from None
    longest = max(rows, key=len)
    if not all(rows):
        raise InputError("is empty: expected at least one word.", "text")
    if len(longest) > (most := MOST_TOKENS if length is None else length):
        raise InputError(f"is {shown(tokenizer.decode(longest))}, which has {len(longest)} tokens: expected at most "
                         f"{most}.", "text")
    found = np.full((len(rows), length or len(longest)), end, np.int64)
    for places, tokens in zip(found, rows, strict=True):
        places[: len(tokens)] = tokens
    return found


class Prior(System, name="prior"):
    """The prior over the codes of a finished run."""

    options = (
        Option("width", Whole(1), 128, "numbers for a token between the blocks"),
        Option("heads", Whole(1), 4, "heads of attention; they divide the width"),
        Option("blocks", Whole(1, MOST_BLOCKS), 4, "transformer blocks"),
        Option("dropout", Real(0, below=1), 0.1, "share of the numbers that training leaves out"),
        Option("vocabulary", Whole(256, 2**16), 512, "most tokens of captions: 256 bytes and learned pairs"),
        Option("codes", Whole(1), None, "codes to choose from; none: those of the run", optional=True),
        Option("grids", Text("sizes such as 8x8"), None, "the grids of codes; none: those of the run", optional=True),
        Option("labels", Whole(0), None, "how many labels there are; none: those of the data", optional=True),
        Option("text_length", Whole(0, MOST_TOKENS), None, "places for the tokens of a caption; none: as many as the "
               "longest one has", optional=True),
    )
    data_options = (
        Option("of", Text("the folder of a run", "RUN"), None, "the run whose codes are learned", may_change=True,
               group="codes"),
        Option("given", Text("none, caption, or the name of a factor such as label"), "none",
               "what is known of an image and comes before its codes", group="codes"),
        DRAWN.but(help="how many training images of shapes are drawn; none: those of the run", group="codes"),
        WITHOUT.but(group="codes"),
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
        grids, text_length, length = self.sizes(options)
        if shape[0] != 1 + text_length + length:
            raise InputError(f"is {shown(options['grids'])}, which has {length} codes: with a label and a text of "
                             f"{text_length} tokens a row has {1 + text_length + length} places, expected {shape[0]}.",
                             "grids")
        sizes = (options[name] for name in ("width", "heads", "blocks", "dropout", "labels"))
        return CodePrior(grids, options["codes"], *sizes, text_length, options["vocabulary"], dtype=dtype,
                         rng=rng or np.random.default_rng())

    def sizes(self, options):
        """(the grids, S, T). Raises InputError where the options leave a size to the run that codes come from."""
        if missing := [name for name in ("codes", "grids", "labels") if options[name] is None]:
            raise InputError("is missing: a run that it learns from says it, or give it.", missing[0])
        grids = read_grids(options["grids"])
        return grids, options["text_length"] or 0, sum(map(math.prod, grids))

    def made_up(self, options, count, rng):
        """Rows (count, 1 + S + T) of random tokens."""
        _, text_length, length = self.sizes(options)
        alphabets = ((max(options["labels"], 1), 1), (options["vocabulary"], text_length), (options["codes"], length))
        return np.concatenate([rng.integers(0, tokens, (count, places)) for tokens, places in alphabets], axis=1)

    def references(self, options):
        return {"of": options["of"]}

    def load_data(self, options, download=False, runs=None):
        trained, data = runs["of"]
        if not trained.codes:
            raise InputError(f"is a run of {trained.options['model']}, which has no codes: name one of a vqvae, a "
                             f"vqvae2 or a dvae.", "of")
        if others := {name: options[name] for name in ("drawn", "without") if options[name] is not None}:
            data = find_system(trained.options["model"]).load_data({**trained.options, **others}, download)
        labels, texts, determines, tokenizer = self.known(options, data)
        rows = []
        for images, *known in zip((data.train, data.held_out), labels, texts, strict=True):
            grids = trained.encode(images)
            grids = grids if isinstance(grids, list) else [grids]
            rows.append(np.concatenate([*known, *(grid.reshape(len(grid), -1) for grid in grids)], axis=1))
        determines |= {
            "codes": int(trained.codes), "grids": ",".join("x".join(map(str, grid.shape[1:])) for grid in grids)}
        return Codes(f"codes of {data.name}", *rows, data.factors, data.held_out_factors, determines=determines,
                     tokenizer=tokenizer)

    def known(self, options, data):
        """What comes before the codes of the training and of the held-out images: (their labels (N, 1), their captions
        (N, S), the options that follow, the tokenizer). Raises InputError where the data do not have it."""
        given, counts = options["given"], (len(data.train), len(data.held_out))
        labels = [np.zeros((count, 1), np.int64) for count in counts]
        texts, tokenizer = [np.zeros((count, 0), np.int64) for count in counts], None
        determines = {"labels": 0, "text_length": 0}
        whole = [name for name, values in data.factors.items() if values.dtype.kind in "iu" and values.ndim == 1]
        if given == "caption":
            try:
                captions = captions_of(data, options["seed"])
            except DataError as error:
                raise InputError(f"{error}.", "given") from None
            tokenizer, end = Tokenizer.train(captions[0], options["vocabulary"]), options["vocabulary"]
            try:
                both = caption_tokens(tokenizer, [*captions[0], *captions[1]], end, options["text_length"])
            except InputError as error:
                raise InputError(f"is caption, and one of the captions {error.message}", "given") from None
            texts, determines["text_length"] = [both[: counts[0]], both[counts[0] :]], both.shape[1]
        elif given in whole:
            labels = [factors[given].astype(np.int64)[:, None] for factors in (data.factors, data.held_out_factors)]
            determines["labels"] = 1 + int(max(part.max() for part in labels))
        elif given != "none":
            raise InputError(f"is {shown(given)}, and of {printable(data.name)} is known: "
                             f"{listed(['none', 'caption', *whole], 'or')}.", "given")
        return labels, texts, determines, tokenizer
