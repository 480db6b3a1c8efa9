"""What a finished run of a prior over codes does: it writes codes, and says how probable those of images are."""

import math
from functools import cached_property

import numpy as np

from data_utils import DataError, Tokenizer, printable
from scratch.arrays import device_module, each, generator, is_integer, to_host, unwarned
from scratch.models.choosing import GUIDANCE, TEMPERATURE, TOP_K, TOP_P, chooser, guided
from scratch.models.code_rows import caption_tokens
from scratch.options.errors import InputError
from scratch.options.option import Option, Whole, shown

COUNT = Option("count", Whole(1), 1, "how many images")
SEED = Option("seed", Whole(0), 0, "of the draws")


class Writing:
    """The part of a Trained (trained.py) for models that write codes; `run`, `model`, `options` and `device` are its.

    A row (1 + S + T) holds a label, the S tokens of a caption and the T codes of an image, as the model's own examples
    do (models/code_prior.py).
    """

    @cached_property
    def tokenizer(self):
        """What makes tokens of text, for a run that was trained on captions. Raises InputError for others."""
        if self.model.text is None:
            raise InputError(f"says what images are to show, and {printable(self.run.folder)} was trained without "
                             f"captions: leave it out, or name a prior that is given captions.", "text")
        merges, vocabulary = self.run.config["data"].get("merges"), self.options["vocabulary"]
        try:
            if merges is None:
                raise DataError("the merges of its tokenizer are missing")
            tokenizer = Tokenizer(merges)
            if tokenizer.vocabulary > vocabulary:
                raise DataError(f"its tokenizer has {tokenizer.vocabulary} tokens: expected at most {vocabulary}")
            return tokenizer
        except DataError as error:
            raise InputError(f"{printable(self.run.folder)}: {error}: restore its config.json, or train again."
                             ) from None

    def complete(self, rows, kept, seed=0, **choosing):
        """Grids (N, h, w) whose first rows are those of images, and the rest written by the prior. Raises InputError
        unless a single grid is learned and has more rows.

        rows   (N, 1 + S + T), as the run's own examples have them: the label, the caption and the codes of images
        kept   how many rows of the grid of codes stay
        """
        if len(self.model.grids) > 1:
            raise InputError(f"{printable(self.run.folder)} learns several grids, and the first alone shows the "
                             f"whole image: name a prior over a single grid.")
        height, *row = self.model.grids[0]
        if not (is_integer(kept) and 0 <= kept < height):
            raise InputError(f"the grid has {height} rows: expected 0 to {height - 1} of them, got {kept!r}.")
        known = rows[:, 1 : 1 + self.model.text_length + kept * math.prod(row)]
        return self.written(rows[:, 0], known, seed, **choosing)

    def bits_of(self, rows):
        """(N,): −log₂ p of the codes in each row (N, 1 + S + T) of a label, a caption and codes, by the prior."""
        return self.in_batches(self.model.nats_of, rows) / math.log(2)

    def write(self, count, seed=0, label=0, text=None, **choosing):
        """The codes of `count` new images, as `encode` of the run that is referred to gives them: grids (count, h, w).

        label      an integer, of a run that was trained on labels
        text       what the images are to show, of a run that was trained on captions, or a list with a text for each;
                   None: it writes captions itself, before the codes
        choosing   temperature, top_k, top_p and guidance, see models/choosing.py; with guidance also `against`, the
                   other caption, such as one that says little

        Raises InputError for a label or a value that does not exist, and for text that is empty or too long.
        """
        count, labels = COUNT.check(count), max(self.model.labels, 1)
        if not (is_integer(label) and 0 <= label < labels):
            raise InputError(f"{printable(self.run.folder)} knows the labels 0 to {labels - 1}, got {shown(label)}.")
        known = None
        if text is not None:
            texts = [text] * count if isinstance(text, str) else text
            if not (isinstance(texts, list | tuple) and len(texts) == count
                    and all(isinstance(one, str) for one in texts)):
                raise InputError(f"expected a text, or a list of {count} of them, got {shown(text)}.", "text")
            known = self.tokens_of(texts)
        return self.written(np.full(count, label), known, seed, **choosing)

    def tokens_of(self, texts, option="text"):
        """(N, S): the tokens of texts, which the option holds. Raises InputError for one that is empty or too long."""
        try:
            return caption_tokens(self.tokenizer, texts, self.model.text.end, self.model.text_length)
        except InputError as error:
            error.option = option
            raise

    def written(self, labels, known, seed, **choosing):
        """Grids (N, h, w) of codes after labels (N,) and the tokens `known` (N, t) that come first, or None."""
        rows = self.written_rows(labels, known, seed, None, **choosing)
        return each(to_host, self.model.as_grids(rows[:, self.model.text_length :]))

    def written_rows(self, labels, known, seed, count, temperature=1.0, top_k=None, top_p=None, guidance=1.0,
                     against=None):
        """(N, count) tokens on the device, see CodePrior.write. Raises InputError where a logit is not finite."""
        chosen = {option.name: option.check(value) for option, value in (
            (TEMPERATURE, temperature), (TOP_K, top_k), (TOP_P, top_p))}
        xp = device_module(self.device)
        choose, sums, rows = chooser(generator(xp, SEED.check(seed)), **chosen), [], len(labels)
        if (guidance := GUIDANCE.check(guidance)) != 1 or against is not None:
            labels, known = np.concatenate([labels, labels]), self.with_others(known, guidance, against)
            choose = guided(choose, guidance)

        def choose_finite(logits, place):
            sums.append(logits.sum())  # stays on the device; NaN or infinite where a logit is
            return choose(logits, place)

        with unwarned():
            known = None if known is None else xp.asarray(known)
            written = self.model.write(xp.asarray(labels), choose_finite, known, count)
            if sums:
                self.finite(xp.stack(sums))
            return written[:rows]

    def with_others(self, known, guidance, against):
        """(2N, t): the known tokens (N, t), then the same after another caption. Raises InputError where there is no
        caption to lead from, or to."""
        if against is None:
            raise InputError(f"is {guidance}, and leads away from another caption: give that as against.", "guidance")
        if not isinstance(against, str):
            raise InputError(f"expected a text, got {shown(against)}.", "against")
        length, (other,) = self.model.text_length, self.tokens_of([against], "against")
        if known is None or guidance == 1:
            raise InputError("is the caption that guidance leads away from: give a text and a guidance other than 1, "
                             "too.", "against")
        return np.concatenate([known, np.concatenate([np.tile(other, (len(known), 1)), known[:, length:]], axis=1)])

    def write_captions(self, count, seed=0, **choosing):
        """(count, S): the tokens of captions that the prior itself writes; `text_of` makes text of them."""
        labels, length = np.zeros(COUNT.check(count), np.int64), self.model.text_length
        return to_host(self.written_rows(labels, None, seed, length, **choosing))

    def text_of(self, tokens):
        """The text of a caption's tokens (S,). Tokens that the tokenizer never learned stand for nothing."""
        known = self.tokenizer.vocabulary
        return self.tokenizer.decode([int(token) for token in tokens if token < known]).strip()
