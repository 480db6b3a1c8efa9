"""Attention on a CPU: the scores of a query in a column, in blocks for the cache.

Measured on an x86-64 CPU with AVX-512, 128 heads, 64 tokens, 32 numbers a head, float32. NumPy finds the largest score
of each column in half the time that it needs for rows. A product whose second factor lies in memory in its own order
takes 0.31 ms, one whose second factor is a transposed view 0.56 ms.
"""

import math

from scratch.arrays import array_module
from scratch.layers.attention import MultiheadAttention, blocks

HELD = 2**18  # scores that are held at a time: a megabyte in float32


def turned(a, factor=1):
    """factor · aᵀ of each matrix of a, in memory in that order."""
    xp, a = array_module(a), a.transpose(0, 2, 1)
    return xp.multiply(a, factor, out=xp.empty(a.shape, a.dtype))


def scores_by_column(q, k, first, causal):
    """`scores`, transposed: aⱼᵢ = kⱼ·qᵢ / √D, and −∞ where a causal query i may not see key j > i. a is (M, J, I)."""
    xp, a = array_module(q), k @ turned(q, 1 / math.sqrt(q.shape[-1]))
    if causal:
        keys, places = xp.arange(a.shape[1]), first + xp.arange(a.shape[2])
        a += xp.where(keys[:, None] > places, -math.inf, 0).astype(a.dtype)
    return a


def attend(q, k, v, causal, held):
    """As the plain `attend`."""
    xp = array_module(q)
    (M, I, _), J = q.shape, k.shape[1]
    o, s, before = xp.empty_like(q), xp.empty((M, I, 1), q.dtype), J - I
    for heads, queries in blocks(M, I, J, held):
        seen = before + queries.stop if causal else J
        a = scores_by_column(q[heads, queries], k[heads, :seen], before + queries.start, causal)
        largest = a.max(axis=1, keepdims=True)
        a -= largest
        xp.exp(a, out=a)
        total = (xp.ones(seen, a.dtype) @ a)[..., None]
        xp.divide(a.transpose(0, 2, 1) @ v[heads, :seen], total, out=o[heads, queries])
        xp.add(largest.transpose(0, 2, 1), xp.log(total), out=s[heads, queries])
    return o, s


def attend_backward(do, q, k, v, o, s, causal, held):
    """As the plain `attend_backward`."""
    xp = array_module(q)
    M, T, D = q.shape
    dq, dk, dv = xp.empty_like(q), xp.zeros_like(k), xp.zeros_like(v)
    mean = (do * o) @ xp.ones((D, 1), do.dtype)
    for heads, queries in blocks(M, T, T, held):
        seen = queries.stop if causal else T
        block, keys = (heads, queries), (heads, slice(0, seen))
        p = scores_by_column(q[block], k[keys], queries.start, causal)
        p -= s[block].transpose(0, 2, 1)
        xp.exp(p, out=p)
        dv[keys] += p @ do[block]
        da = v[keys] @ turned(do[block])
        da -= mean[block].transpose(0, 2, 1)
        da *= p
        da *= 1 / math.sqrt(D)
        dq[block] = da.transpose(0, 2, 1) @ k[keys]
        dk[keys] += da @ q[block]
    return dq, dk, dv


class ColumnwiseAttention(MultiheadAttention):
    """MultiheadAttention with one column of scores for each query."""

    held = HELD
    attend, attend_backward = staticmethod(attend), staticmethod(attend_backward)
