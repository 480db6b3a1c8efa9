"""How a token is chosen from its logits: drawn at random, more or less boldly."""

import math

from scratch.arrays import array_module
from scratch.bottlenecks.gumbel_softmax import gumbel_noise
from scratch.layers.softmax import softmax
from scratch.options.option import Option, Real, Whole

TEMPERATURE = Option("temperature", Real(0), 1.0, "divides the logits: below 1 likely codes become more likely; 0: the "
                     "most likely one", source="arXiv:1904.09751")
TOP_K = Option("top_k", Whole(1), None, "draw among the K most likely alone; none: among all")
TOP_P = Option("top_p", Real(0, included=False), None, "draw among the most likely that together have this probability "
               "alone; none: among all", source="arXiv:1904.09751")
GUIDANCE = Option("guidance", Real(0), 1.0, "how many times a code counts that speaks for the caption and against "
                  "another one; 1: as it was learned", source="arXiv:2207.12598")


def keep_largest(a, count):
    """a (N, K) with −∞ in place of all but the `count` largest of each row, and of those equal to the smallest kept."""
    xp = array_module(a)
    if count >= a.shape[1]:
        return a
    least = xp.sort(a, axis=1)[:, -count][:, None]
    return xp.where(a < least, -math.inf, a)


def keep_probable(a, share):
    """a (N, K) with −∞ in place of all but the fewest entries that together have the probability `share`.

    In the order of falling probability an entry is kept if those before it have less than `share` together. The first
    is always kept. (Holtzman et al. 2020, arXiv:1904.09751, "nucleus sampling")
    """
    xp = array_module(a)
    order = xp.argsort(-a, axis=1)
    p = xp.take_along_axis(softmax(a), order, axis=1)
    before = xp.cumsum(p, axis=1) - p
    kept = xp.take_along_axis(before < share, xp.argsort(order, axis=1), axis=1)
    return xp.where(kept, a, -math.inf)


def chooser(rng, temperature=1.0, top_k=None, top_p=None):
    """A function (logits (N, K), place) -> tokens (N,): k ~ softmax(logits / temperature) among those that are kept.

    Drawn as argmax(logits / temperature + g) with Gumbel noise g of `rng`, a generator of the array module.
    """
    def choose(logits, place):
        if temperature > 0:
            logits = logits / temperature
        if top_k is not None:
            logits = keep_largest(logits, top_k)
        if top_p is not None:
            logits = keep_probable(logits, top_p)
        if temperature > 0:
            logits = logits + gumbel_noise(logits.shape, logits.dtype, rng)
        return logits.argmax(axis=1)

    return choose


def guided(choose, guidance):
    """A chooser for 2N rows: N after their captions, then the same N after another caption. Both halves get the tokens
    that `choose` takes from the logits

        a = a_other + guidance · (a_caption − a_other)

    that is, from p ∝ p_other · (p_caption / p_other)^guidance. By Bayes' rule the ratio says how much more a token
    speaks for the caption than for the other one. At a guidance of 1 the other caption plays no part.

    Shapes: logits (2N, K) -> tokens (2N,). (Ho & Salimans 2022, arXiv:2207.12598, "classifier-free guidance"; of codes
    after captions: Gafni et al. 2022, arXiv:2203.13131)
    """
    def choose_for_both(logits, place):
        xp = array_module(logits)
        caption, other = xp.split(logits, 2)
        tokens = choose(other + guidance * (caption - other), place)
        return xp.concatenate([tokens, tokens])

    return choose_for_both
