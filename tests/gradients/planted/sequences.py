"""Mistakes in the layers of a transformer and in the loss of its tokens."""

from tests.gradients.planted.mistake import plant

plant(
    "LinearOfTokens", "layers.linear.LinearOfTokens.backward",
    ("the input's gradient doubled", "return None if dx is None else dx.reshape", "return 2 * dx.reshape", "twice"),
    ("the upstream doubled", "dy.reshape(-1, dy.shape[-1])", "2 * dy.reshape(-1, dy.shape[-1])", "twice"),
)
plant(
    "Embedding", "layers.embedding.Embedding.backward",
    ("the table's gradient doubled", "sums_by_index(dy,", "2 * sums_by_index(dy,", "twice"),
    ("of the opposite sign", "sums_by_index(dy,", "-sums_by_index(dy,", "opposite sign"),
    ("averaged over the batch", "sums_by_index(dy,", "sums_by_index(dy / len(dy),", "1/N|⅓"),
)
plant(
    "LayerNorm", "layers.layer_norm.LayerNorm.backward",
    ("the input's gradient doubled", "self.standardize_backward(dy)", "2 * self.standardize_backward(dy)", "twice"),
    ("all gradients halved", "self.standardize_backward(dy)", "self.standardize_backward(0.5 * dy)", "½"),
)
plant(
    "Dropout", "layers.dropout.Dropout.backward",
    ("the mask forgotten", "dy if kept is None else dy * kept", "dy", "upstream gradient|not zero where"),
    ("the division by 1 − p forgotten", "dy * kept", "dy * (kept > 0)", "the ratio is 0.7000"),
    ("of the opposite sign", "dy * kept", "-dy * kept", "opposite sign"),
)
plant(
    "Softmax", "layers.softmax.softmax_backward",
    ("the mean forgotten", "(dy - mean)", "dy", "without the share of the sum"),
    ("the outer y forgotten", "y * (dy", "(dy", "without its factor y"),
    ("of the opposite sign", "(dy - mean)", "(mean - dy)", "opposite sign"),
    ("doubled", "y * (dy", "2 * y * (dy", "twice"),
)
plant(
    "GELU", "layers.activation.GELU.backward",
    ("doubled", "return derivative(dy, *self.recall())", "return 2 * derivative(dy, *self.recall())", "twice"),
    ("of the opposite sign", "return derivative(dy, *self.recall())", "return -derivative(dy, *self.recall())",
     "opposite sign"),
)
plant(
    "MultiheadAttention", "layers.attention.attend_backward",
    ("1/√D forgotten in the scores' gradient", "da *= 1 / math.sqrt(D)", "pass", r"times 1\.732"),
    ("the values' gradient doubled", "dv[keys] += p", "dv[keys] += 2 * p", r"times 2\.000"),
    ("the row's mean forgotten", "da -= mean[block]", "pass", "."),
    ("the keys' gradient of the opposite sign", "dk[keys] += da", "dk[keys] -= da", "opposite sign"),
)
plant(
    "MultiheadAttention", "layers.attention.MultiheadAttention.backward",
    ("the input projection's bias forgotten", "if self.in_proj_bias:", "if False:", "zero, where"),
    ("its weight's gradient doubled", "x.reshape(N * T, E).T @ dqkv", "2 * x.reshape(N * T, E).T @ dqkv", "twice"),
    ("its weight's gradient averaged over the batch", "x.reshape(N * T, E).T @ dqkv",
     "x.reshape(N * T, E).T @ dqkv / N", "1/N"),
)
plant(
    "TransformerBlock", "layers.transformer.TransformerBlock.backward",
    ("the second skip forgotten", "dh = dy + self.norm2", "dh = self.norm2", "."),
    ("the first skip forgotten", "return dh + self.norm1", "return self.norm1", "."),
)
plant(
    "GridPositions", "layers.positions.GridPositions.backward",
    ("the rows' gradient doubled", "of_places.sum(axis=1)", "2 * of_places.sum(axis=1)", "twice"),
    ("the columns' gradient averaged", "of_places.sum(axis=0)", "of_places.mean(axis=0)", "½"),
    ("the rows forgotten", "self.rows.accumulate(of_places.sum(axis=1))", "pass", "zero, where"),
)
plant(
    "TokenPositions", "layers.positions.TokenPositions.backward",
    ("the places' gradient doubled", "self.column_sums(dy", "2 * self.column_sums(dy", "twice"),
    ("the places' gradient averaged over the batch", ".reshape(T, C))", ".reshape(T, C) / N)", "1/N"),
    ("the places forgotten", "self.places.accumulate(self.column_sums(dy.reshape(N, T * C)).reshape(T, C))", "pass",
     "zero, where"),
)
plant(
    "ToTokens", "layers.positions.ToTokens.backward",
    ("rows and columns exchanged", "dy.reshape(shape)",
     "dy.reshape(shape[0], shape[2], shape[1], -1).transpose(0, 2, 1, 3).copy()", "order|permuted|transposed|axes"),
    ("doubled", "return dy.reshape", "return 2 * dy.reshape", "twice"),
)
plant(
    "ToGrid", "layers.positions.ToGrid.backward",
    ("of the opposite sign", "return dy.reshape", "return -dy.reshape", "opposite sign"),
)
plant(
    "CrossEntropy", "losses.CrossEntropy.backward",
    ("the batch's mean forgotten", "(dL / len(da))", "dL", "N times"),
    ("the label's 1 forgotten", "da -= labels[..., None] == xp.arange(da.shape[-1])", "pass", "."),
    ("of the opposite sign", "return da", "return -da", "opposite sign"),
    ("the upstream forgotten", "(dL / len(da))", "(1 / len(da))", "without the upstream"),
    ("averaged over the places, too", "(dL / len(da))", "(dL / labels.size)", "of the right gradient: the ratio is"),
)
