"""The layers of a transformer, and the loss of its tokens."""

import numpy as np

from scratch import layers
from scratch.arrays import array_module
from scratch.gradcheck.cases.case import add, normal, of_forward
from scratch.gradcheck.cases.layers import layer, norm
from scratch.gradcheck.differences import Operation
from scratch.losses import CrossEntropy


def tokens(shape, count, like):
    """Integers 0, 1, …, count − 1, 0, 1, … on the device of an array."""
    xp = array_module(like)
    return xp.arange(int(np.prod(shape))).reshape(shape) * 3 % count


def embedding(case, rng):
    """y = Embedding(x): the gradient of the table alone, as x holds integers."""
    module = layers.Embedding(**case.arguments, dtype=case.dtype, rng=rng)
    table = module.weight.value
    x = tokens(case.shape, len(table), table)

    def backward(upstream):
        module.zero_grad()
        module.backward(upstream["y"])
        return {"weight": module.weight.gradient()}

    return Operation({"weight": table}, lambda: {"y": module.forward(x)}, backward, {"x": x}, module)


def tokens_linear(case, rng):
    """y = LinearOfTokens(x)."""
    module = layers.LinearOfTokens(**case.arguments, dtype=case.dtype, rng=rng)
    return of_forward(module, {"x": normal(case.shape, rng)}, "y")


def dropout(case, rng):
    """y = Dropout(x, noise)."""
    module = layers.Dropout(**case.arguments)
    noise = abs(normal(case.shape, rng)) % 1
    return of_forward(module, {"x": normal(case.shape, rng)}, "y", {"noise": noise})


def attention(case, rng):
    """y = module(x), attention with a few scores at a time, with biases and scales that are not 0 and 1."""
    module = getattr(layers, case.name)(**case.arguments, dtype=case.dtype, rng=rng)
    for part in module.modules():
        if isinstance(part, layers.MultiheadAttention):
            part.held = 30
    for parameter in module.named_parameters().values():
        if parameter.value.ndim == 1:
            parameter.value = normal(parameter.value.shape, rng)
    return of_forward(module, {"x": normal(case.shape, rng)}, "y")


def positions(case, rng):
    """y = module(x), the positions of a grid or of a row."""
    module = getattr(layers, case.name)(**case.arguments, dtype=case.dtype, rng=rng)
    return of_forward(module, {"x": normal(case.shape, rng)}, "y")


def cross_entropy(case, rng):
    """loss = CrossEntropy(a, x), where two labels are ignored."""
    a = normal(case.shape, rng)
    x = tokens(case.shape[:-1], case.shape[-1], a)
    x[0, :2] = -100
    module = CrossEntropy(**case.arguments)
    if "weight" in case.arguments:
        module.weight = array_module(a).asarray(case.arguments["weight"], a.dtype)

    def backward(upstream):
        return {"logits": module.backward(upstream["loss"])}

    return Operation({"logits": a}, lambda: {"loss": module.loss(a, x)}, backward, {"target": x}, module)


add(embedding, "Embedding", (3, 4), dict(num_embeddings=7, embedding_dim=5))
add(norm, "LayerNorm", (3, 4, 6), dict(normalized_shape=6), dict(normalized_shape=6, eps=0.1))
add(dropout, "Dropout", (3, 4, 6), dict(p=0.3))
add(layer, "Softmax", (3, 4, 6))
add(tokens_linear, "LinearOfTokens", (3, 4, 6), dict(in_features=6, out_features=5))
add(layer, "GELU", (3, 4, 6), {}, dict(approximate="tanh"))
add(
    attention, "MultiheadAttention", (3, 5, 6),
    dict(embed_dim=6, num_heads=2),
    dict(embed_dim=6, num_heads=3, causal=True),
    dict(embed_dim=6, num_heads=1, bias=False, causal=True),
)
add(attention, "TransformerBlock", (3, 5, 6), dict(embed_dim=6, num_heads=2, hidden=10, causal=True))
add(positions, "GridPositions", (3, 2, 4, 5), dict(height=2, width=4, channels=5))
add(positions, "TokenPositions", (3, 4, 5), dict(length=4, channels=5))
add(layer, "ToTokens", (3, 2, 4, 5))
add(layer, "ToGrid", (3, 8, 5), dict(height=2, width=4))
add(cross_entropy, "CrossEntropy", (3, 4, 5), {}, dict(weight=(0.5, 2.0, 1.0, 0.1, 3.0)))
