"""Mistakes in layers without a window."""

from tests.gradients.planted.mistake import plant

plant(
    "Linear", "layers.linear.Linear.backward",
    ("the weight's gradient averaged over the batch", "x.T @ dy", "x.T @ dy / len(x)", "1/N of"),
    ("the bias averaged over the batch", "self.column_sums(dy)", "dy.mean(axis=0)", "1/N of"),
    ("the bias summed over the wrong axis", "self.column_sums(dy)", "dy.sum(axis=1)", r"sum of ∂L/∂y over axis 1"),
    ("the bias not summed", "self.column_sums(dy)", "dy", "before it is summed over axis 0"),
    ("the bias summed over everything", "self.column_sums(dy)", "dy.sum() + 0 * dy[0]", "the sum of .* over ax"),
    ("the bias forgotten", "self.bias.accumulate(self.column_sums(dy))", "pass", "zero, where"),
    ("the weight's product transposed", "x.T @ dy", "dy.T @ x", "transposed"),
    ("x without its transpose", "x.T @ dy", "x @ dy", "ValueError in backward, scratch/layers/linear.py"),
    ("the weight's gradient doubled", "x.T @ dy", "2 * x.T @ dy", "twice"),
    ("the input's gradient of the opposite sign", "dy @ self", "-dy @ self", "opposite sign"),
    ("the input's gradient without the upstream", "dy @ self.weight.value.T", "0 * dy @ self.weight.value.T + "
     "self.weight.value.sum(1)", "taken as 1"),
    ("the weight's gradient of the first example alone", "x.T @ dy", "x[:1].T @ dy[:1]", "first index of axis 0"),
    ("the weight's gradient without the last example", "x.T @ dy", "x[:-1].T @ dy[:-1]", "last index of axis 0"),
    ("the gradient replaced, not added", "self.weight.accumulate(x.T @ dy)", "self.weight.grad = x.T @ dy",
     "does not add to the gradient of weight"),
    ("upstream changed in place before it is used", "(x,) = self.recall()", "(x,) = self.recall(); dy *= 0.5",
     "½ of the right"),
    ("computed in single precision", "dy @ self.weight.value.T if", "(dy @ self.weight.value.T).astype('f4') if",
     "single precision"),
)
plant(
    "Linear", "layers.linear.Linear.forward",
    ("the input changed in place after it was saved", "self.save(x)\n", "self.save(x); x *= 1.5\n", "in place"),
)
plant(
    "ReLU", "layers.activation.relu_backward",
    ("the mask forgotten", "dy * (y > 0)", "dy", "the upstream gradient ∂L/∂y itself|not zero where it should be"),
    ("the mask reversed", "dy * (y > 0)", "dy * (y <= 0)", "for −x in place of x"),
    ("the mask of the upstream", "dy * (y > 0)", "dy * (dy > 0)", "for ∂L/∂y in place of x"),
    ("the upstream forgotten", "dy * (y > 0)", "1.0 * (y > 0)", "taken as 1|without .* ∂L/∂y"),
    ("times the output", "dy * (y > 0)", "dy * y", "factor [xy] too many"),
    ("of the opposite sign", "dy * (y > 0)", "-dy * (y > 0)", "opposite sign"),
)
plant(
    "LeakyReLU", "layers.activation.leaky_relu_backward",
    ("zero where x < 0", "slope * dy)", "0 * dy)", "zeros where x < 0"),
    ("the slope forgotten", "slope * dy)", "dy)", "itself|where x < 0"),
    ("the slope twice", "slope * dy)", "slope * slope * dy)", "where x < 0"),
    ("the sides exchanged", "(positive, dy, slope * dy)", "(positive, slope * dy, dy)", "for −x in place of x"),
)
plant(
    "Sigmoid", "layers.activation.sigmoid_backward",
    ("1 − y forgotten", "dy * (y * (1 - y))", "dy * y", r"y in place of y − y²"),
    ("1 + y", "y * (1 - y)", "y * (1 + y)", r"1 \+ y|y \+ y²"),
    ("y squared", "y * (1 - y)", "(1 - y * y)", r"1 − y²"),
    ("the upstream forgotten", "dy * (y", "1.0 * (y", r"taken as 1|without .* ∂L/∂y"),
    ("of the opposite sign", "(1 - y)", "(y - 1)", "opposite sign"),
    ("the derivative forgotten", "dy * (y * (1 - y))", "dy", "itself"),
)
plant(
    "Sigmoid", "layers.activation.Sigmoid.forward",
    ("the input saved in place of the output", "self.save(y)", "self.save(x)", "with x where y belongs"),
)
plant(
    "Tanh", "layers.activation.tanh_backward",
    ("y in place of y²", "1 - y * y", "1 - y", "1 − y"),
    ("1 + y²", "1 - y * y", "1 + y * y", r"1 \+ y² in place of 1 − y²"),
    ("twice", "1 - y * y", "2 - 2 * y * y", "twice"),
)
plant(
    "Tanh", "layers.activation.Tanh.forward",
    ("the input saved in place of the output", "self.save(y)", "self.save(x)", "with x where y belongs"),
)
plant(
    "SiLU", "layers.activation.silu_backward",
    ("the product's second summand forgotten", "gate * (1 + x * (1 - gate))", "gate", r"missing|sigmoid\(x\)"),
    ("the upstream forgotten", "dy * (gate", "1.0 * (gate", r"taken as 1|without .* ∂L/∂y"),
)
plant(
    "SiLU", "layers.activation.SiLU.forward",
    ("the output saved in place of the input", "self.save(x, gate)", "self.save(x * gate, gate)",
     "with y where x belongs"),
)
plant(
    "Flatten", "layers.shape.Flatten.backward",
    ("a reshape without its transpose", "dy.reshape(N, C, H, W).transpose(0, 2, 3, 1)", "dy.reshape(N, H, W, C)",
     "another order"),
    ("height and width exchanged", "dy.reshape(N, C, H, W)", "dy.reshape(N, C, W, H).transpose(0, 1, 3, 2)",
     "another order"),
)
plant(
    "Unflatten", "layers.shape.Unflatten.backward",
    ("a reshape without its transpose", "dy.transpose(0, 3, 1, 2).reshape", "dy.reshape", "another order"),
)
plant(
    "Concatenate", "layers.concatenate.Concatenate.backward",
    ("the second half from the wrong place", "dy[..., A:]", "dy[..., A - 1:-1]", "shifted"),
    ("the halves exchanged", "dy[..., :A], dy[..., A:]", "dy[..., A:], dy[..., :A]", "has shape"),
    ("the same part twice", "dy[..., A:]", "dy[..., :A]", "has shape"),
)
plant(
    "ResidualBlock", "layers.residual.ResidualBlock.backward",
    ("the skip forgotten", "dy + self", "0 * dy + self", "without ∂L/∂y itself"),
    ("the branch forgotten", "dy + self.branch.backward(dy)", "(self.branch.backward(dy), dy)[1]",
     "without the share of branch|the upstream gradient ∂L/∂y itself"),
    ("the skip doubled", "dy + self", "2 * dy + self", "plus ∂L/∂y itself"),
    ("the branch of the opposite sign", "dy + self", "dy - self", "opposite sign of the share of branch"),
)
