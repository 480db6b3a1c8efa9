"""The block that a transformer is made of: attention between tokens, then a small network for each token."""

import numpy as np

from scratch.layers.activation import GELU
from scratch.layers.attention import MultiheadAttention
from scratch.layers.dropout import Dropout
from scratch.layers.layer_norm import LayerNorm
from scratch.layers.linear import LinearOfTokens
from scratch.module import Module


class TransformerBlock(Module):
    """h = x + dropout(attention(norm1(x))),       y = h + dropout(linear2(gelu(linear1(norm2(h))))).

    Shapes: x, y (N, T, E); between its linear layers there are `hidden` numbers for each token. The norms come first
    ("pre-norm"), so x reaches y by addition alone, and so does the gradient:

        ∂L/∂h = ∂L/∂y + (the branch's Jacobian)ᵀ ∂L/∂y       ∂L/∂x = ∂L/∂h + (attention's branch's Jacobian)ᵀ ∂L/∂h

    Without dropout the state dict and the function are those of torch.nn.TransformerEncoderLayer with norm_first=True.
    GELU is in its tanh form. `noise` is the pair of the two dropouts' noise, each (N, T, E).
    (Vaswani et al. 2017, arXiv:1706.03762; pre-norm: Xiong et al. 2020, arXiv:2002.04745)
    """

    def __init__(self, embed_dim, num_heads, hidden, dropout=0.0, *, causal=False, dtype=np.float32, rng=None):
        rng = rng or np.random.default_rng()
        self.self_attn = MultiheadAttention(embed_dim, num_heads, causal=causal, dtype=dtype, rng=rng)
        self.linear1 = LinearOfTokens(embed_dim, hidden, dtype=dtype, rng=rng)
        self.linear2 = LinearOfTokens(hidden, embed_dim, dtype=dtype, rng=rng)
        self.norm1, self.norm2 = LayerNorm(embed_dim, dtype=dtype), LayerNorm(embed_dim, dtype=dtype)
        self.gelu = GELU("tanh")
        self.dropout1, self.dropout2 = Dropout(dropout, rng=rng), Dropout(dropout, rng=rng)

    def forward(self, x, noise=(None, None), past=None):
        h = x + self.dropout1.forward(self.self_attn.forward(self.norm1.forward(x), past), noise[0])
        f = self.gelu.forward(self.linear1.forward(self.norm2.forward(h)))
        return h + self.dropout2.forward(self.linear2.forward(f), noise[1])

    def backward(self, dy):
        df = self.linear2.backward(self.dropout2.backward(dy))
        dh = dy + self.norm2.backward(self.linear1.backward(self.gelu.backward(df)))
        return dh + self.norm1.backward(self.self_attn.backward(self.dropout1.backward(dh)))
