"""Attention: each token becomes a mean over all tokens, weighted by how well their keys fit its query."""

import math

import numpy as np

from scratch.arrays import array_module, column_sums
from scratch.layers.checks import check_input, size
from scratch.layers.linear import LinearOfTokens
from scratch.module import Module, Parameter

HELD = 2**20  # scores that attention holds at a time


def blocks(M, I, J, held):
    """Pairs of slices (heads of M, queries of I). Each has at most `held` scores with J keys, or one row of J."""
    heads = max(1, held // (I * J))
    queries = min(I, max(1, held // J))
    for first in range(0, M, heads):
        for start in range(0, I, queries):
            yield slice(first, min(first + heads, M)), slice(start, min(start + queries, I))


def scores(q, k, first, causal):
    """aᵢⱼ = qᵢ·kⱼ / √D, and −∞ where a causal query i may not see key j > i. Query 0 of q stands at place `first`.

    Shapes: q (M, I, D), k (M, J, D), a (M, I, J).
    """
    xp = array_module(q)
    a = (q * (1 / math.sqrt(q.shape[-1]))) @ k.transpose(0, 2, 1)
    if causal:
        places, keys = first + xp.arange(a.shape[1]), xp.arange(a.shape[2])
        a[:, keys > places[:, None]] = -math.inf
    return a


def attend(q, k, v, causal, held=HELD):
    """(o, s): oᵢ = Σⱼ pᵢⱼ vⱼ with p = softmax(q kᵀ/√D), and sᵢ = log Σⱼ exp(qᵢ·kⱼ/√D), with which backward finds p.

    Shapes: q (M, I, D), k, v (M, J, D), o (M, I, D), s (M, I, 1), for M heads. The last of the I queries stands at the
    last of the J places. A block of queries at a time holds its scores; the array of all M·I·J is never made.
    """
    xp = array_module(q)
    (M, I, _), J = q.shape, k.shape[1]
    o, s, before = xp.empty_like(q), xp.empty((M, I, 1), q.dtype), J - I
    for heads, queries in blocks(M, I, J, held):
        seen = before + queries.stop if causal else J  # no query of the block sees a later key
        a = scores(q[heads, queries], k[heads, :seen], before + queries.start, causal)
        largest = a.max(axis=-1, keepdims=True)
        a -= largest
        xp.exp(a, out=a)
        total = a.sum(axis=-1, keepdims=True)
        o[heads, queries] = (a @ v[heads, :seen]) / total
        s[heads, queries] = largest + xp.log(total)
    return o, s


def attend_backward(do, q, k, v, o, s, causal, held=HELD):
    """(∂L/∂q, ∂L/∂k, ∂L/∂v) of `attend` for as many queries as keys.

        ∂L/∂vⱼ = Σᵢ pᵢⱼ ∂L/∂oᵢ       ∂L/∂pᵢⱼ = ∂L/∂oᵢ · vⱼ
        ∂L/∂aᵢⱼ = pᵢⱼ (∂L/∂pᵢⱼ − Σₗ pᵢₗ ∂L/∂pᵢₗ) = pᵢⱼ (∂L/∂pᵢⱼ − ∂L/∂oᵢ · oᵢ)
        ∂L/∂qᵢ = Σⱼ ∂L/∂aᵢⱼ kⱼ / √D       ∂L/∂kⱼ = Σᵢ ∂L/∂aᵢⱼ qᵢ / √D

    The sum over l is ∂L/∂oᵢ · oᵢ, because oᵢ = Σₗ pᵢₗ vₗ. So each block needs its own scores alone.
    """
    xp = array_module(q)
    M, T, D = q.shape
    dq, dk, dv = xp.empty_like(q), xp.zeros_like(k), xp.zeros_like(v)
    mean = (do * o).sum(axis=-1, keepdims=True)
    for heads, queries in blocks(M, T, T, held):
        seen = queries.stop if causal else T
        block, keys = (heads, queries), (heads, slice(0, seen))
        p = scores(q[block], k[keys], queries.start, causal)
        p -= s[block]
        xp.exp(p, out=p)
        dv[keys] += p.transpose(0, 2, 1) @ do[block]
        da = do[block] @ v[keys].transpose(0, 2, 1)
        da -= mean[block]
        da *= p
        da *= 1 / math.sqrt(D)
        dq[block] = da @ k[keys]
        dk[keys] += da.transpose(0, 2, 1) @ q[block]
    return dq, dk, dv


class KeysAndValues:
    """The keys and values of the tokens that attention has seen, for writing one token after another.

    Shapes: k, v (N·heads, J, D) for the J tokens so far; there is room for `length` of them.
    """

    def __init__(self, length):
        self.length, self.seen, self.k, self.v = length, 0, None, None

    def add(self, k, v):
        """(k, v) of all tokens so far, these new ones included. Raises ValueError if there is no room for them."""
        M, new, D = k.shape
        if self.seen + new > self.length:
            raise ValueError(f"there is room for {self.length} tokens, {self.seen} are there, and {new} more came")
        if self.k is None:
            xp = array_module(k)
            self.k, self.v = (xp.empty((M, self.length, D), k.dtype) for _ in range(2))
        self.k[:, self.seen : self.seen + new] = k
        self.v[:, self.seen : self.seen + new] = v
        self.seen += new
        return self.k[:, : self.seen], self.v[:, : self.seen]


class MultiheadAttention(Module):
    """Self-attention: every token of a row becomes a mean over the tokens of that row, once for each head.

        [q, k, v] = x W_in + b_in,   cut into heads of D = E / num_heads numbers
        p = softmax(q kᵀ / √D),   o = p v       for each head;   causal: pᵢⱼ = 0 for j > i
        y = [o of all heads] W_out + b_out

    Shapes: x, y (N, T, E); `in_proj_weight` (E, 3E), `in_proj_bias` (3E,), `out_proj` linear (E, E). Names and state
    dict are those of torch.nn.MultiheadAttention with query = key = value.

    q·k is a sum of D products. If their factors are independent with mean 0 and variance 1, its variance is D, and
    without the division by √D the softmax would be nearly one-hot for large D, where its gradient vanishes.
    `attend_backward` has the derivatives. Memory: the scores of a block of queries, at most `held` numbers, or T; never
    N · num_heads · T · T. Backward computes them again. (Vaswani et al. 2017, arXiv:1706.03762; the blocks: Dao et al.
    2022, arXiv:2205.14135)

    Raises ValueError unless num_heads divides embed_dim.
    """

    column_sums = staticmethod(column_sums)
    attend, attend_backward = staticmethod(attend), staticmethod(attend_backward)
    held = HELD

    def __init__(self, embed_dim, num_heads, *, bias=True, causal=False, dtype=np.float32, rng=None):
        E, self.num_heads = size(embed_dim, "embed_dim"), size(num_heads, "num_heads")
        if E % num_heads:
            raise ValueError(f"MultiheadAttention cannot cut {E} numbers into {num_heads} equal heads: choose a number "
                             f"of heads that divides them")
        rng = rng or np.random.default_rng()
        self.causal = causal
        bound = math.sqrt(6 / (E + 3 * E))  # Glorot's uniform initialisation, as PyTorch's
        self.in_proj_weight = Parameter(rng.uniform(-bound, bound, (E, 3 * E)).astype(dtype), to_torch=(1, 0))
        self.in_proj_bias = Parameter(np.zeros(3 * E, dtype)) if bias else None
        self.out_proj = LinearOfTokens(E, E, bias, dtype=dtype, rng=rng)
        if bias:
            self.out_proj.bias.value[...] = 0

    def heads(self, rows, N, T):
        """(N·T, parts·E) as `parts` arrays (N·heads, T, D)."""
        E = self.in_proj_weight.value.shape[0]
        parts = rows.reshape(N, T, -1, self.num_heads, E // self.num_heads).transpose(2, 0, 3, 1, 4)
        return [array_module(rows).ascontiguousarray(part).reshape(N * self.num_heads, T, -1) for part in parts]

    def joined(self, o, N, T):
        """(N·heads, T, D) as (N, T, E), the heads beside each other."""
        return o.reshape(N, self.num_heads, T, -1).transpose(0, 2, 1, 3).reshape(N, T, -1)

    def forward(self, x, past=None):
        """y. With `past`, a KeysAndValues, x holds the tokens that follow those of the past; this has no backward."""
        W = self.in_proj_weight.value
        check_input(self, x, ("N", "T", W.shape[0]), W)
        N, T, E = x.shape
        qkv = x.reshape(N * T, E) @ W
        if self.in_proj_bias:
            qkv += self.in_proj_bias.value
        q, k, v = self.heads(qkv, N, T)
        if past is not None:
            k, v = past.add(k, v)
        o, s = self.attend(q, k, v, self.causal, self.held)
        self.save(x, q, k, v, o, s)
        return self.out_proj.forward(self.joined(o, N, T))

    def backward(self, dy):
        do = self.out_proj.backward(dy)
        x, q, k, v, o, s = self.recall()
        N, T, E = x.shape
        (do,) = self.heads(do.reshape(N * T, E), N, T)
        dqkv = self.attend_backward(do, q, k, v, o, s, self.causal, self.held)
        dqkv = array_module(x).concatenate([self.joined(part, N, T) for part in dqkv], axis=2).reshape(N * T, 3 * E)
        if self.in_proj_bias:
            self.in_proj_bias.accumulate(self.column_sums(dqkv))
        self.in_proj_weight.accumulate(x.reshape(N * T, E).T @ dqkv)
        return (dqkv @ self.in_proj_weight.value.T).reshape(N, T, E) if self.needs_input_gradient else None
