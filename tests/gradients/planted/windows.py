"""Mistakes in convolutions, pooling and upsampling."""

from tests.gradients.planted.mistake import plant

CONV = "layers.conv.Conv2d.backward"
plant(
    "conv2d_definition", "layers.conv_definition.conv2d_backward",
    ("the input's gradient replaced, not added", "dx[n, row, col, c] += dy", "dx[n, row, col, c] = dy", "one summand"),
    ("the weight's gradient replaced, not added", "dw[u, v, c, o] += dy", "dw[u, v, c, o] = dy", "one summand"),
    ("the kernel flipped in the weight's gradient", "dw[u, v, c, o] +=", "dw[KH - 1 - u, KW - 1 - v, c, o] +=",
     "flipped along axes 0 and 1"),
    ("the kernel flipped in the input's gradient", "* w[u, v, c, o]", "* w[KH - 1 - u, KW - 1 - v, c, o]",
     "for weight flipped along axes 0 and 1"),
    ("the bias summed over the images alone", "dy.sum((0, 1, 2))", "dy.sum(0)",
     "before it is summed over axes 0 and 1"),
    ("the bias averaged", "dy.sum((0, 1, 2))", "dy.mean((0, 1, 2))", "examples and positions"),
)
plant(
    "Conv2d", CONV,
    ("the weight's gradient averaged over the batch", "(P.T @ dy)", "(P.T @ dy / N)", "1/N of"),
    ("the weight's gradient averaged over rows", "(P.T @ dy)", "(P.T @ dy / len(P))", "examples and positions"),
    ("the bias averaged over the positions", "self.column_sums(dy)", "self.column_sums(dy) / (I * J)",
     "positions of y"),
    ("the kernel flipped up and down", "(P.T @ dy).reshape(KH, KW, C, O)", "(P.T @ dy).reshape(KH, KW, C, O)[::-1]",
     "flipped along axis 0|nothing"),
    ("the bias forgotten", "self.bias.accumulate(self.column_sums(dy))", "pass", "zero"),
    ("the input's gradient halved", "dP = dy", "dP = 0.5 * dy", "½ of"),
)
plant(
    "ConvTranspose2d", "layers.conv.ConvTranspose2d.backward",
    ("the weight's gradient without its batch sum's examples", "x.T @ dP", "x[: I * J].T @ dP[: I * J]",
     "first index of axis 0|½"),
    ("the bias doubled", "self.column_sums(dy.reshape", "2 * self.column_sums(dy.reshape", "twice"),
    ("the input's gradient of the opposite sign", "dx = dP @", "dx = -dP @", "opposite sign"),
)
plant(
    "MaxPool2d", "layers.pooling.MaxPool2d.backward",
    ("every pixel of a window gets the gradient", "(winner[:, :, :, None] == tap) * dy", "(winner[:, :, :, None] >= 0) "
     "* (tap >= 0) * dy", "at every pixel of its window"),
    ("divided among the pixels", "(winner[:, :, :, None] == tap) * dy", "(tap >= 0) / (KH * KW) * dy",
     "divided equally"),
    ("the first pixel gets it", "winner[:, :, :, None] == tap", "0 * winner[:, :, :, None] == tap",
     "at the first pixel"),
)
plant(
    "MaxPool2d", "layers.pooling.MaxPool2d.forward",
    ("the smallest pixel gets it", "patches.argmax(axis=3)", "patches.argmin(axis=3)", "for −x in place of x"),
)
plant(
    "AvgPool2d", "layers.pooling.AvgPool2d.backward",
    ("not divided by the window's size", "(dy / count)", "(dy + 0)", "elements of the kernel|4 times"),
    ("divided twice", "(dy / count)", "(dy / count**2)", "elements of the kernel|¼"),
)
plant(
    "Upsample", "layers.pooling.Upsample.backward",
    ("the mean over the copies", ".sum(axis=(2, 4))", ".mean(axis=(2, 4))", "copies of a pixel|¼"),
    ("one copy alone", "dy.reshape(N, H, FH, W, FW, C).sum(axis=(2, 4))", "dy[:, ::FH, ::FW]", "one summand"),
    ("the largest copy", ".sum(axis=(2, 4))", ".max(axis=(2, 4))", "nothing"),
)
plant(
    "GroupNorm", "layers.standardize.take_out",
    ("the mean's share forgotten", "dx = dx_hat - mean", "dx = dx_hat + 0 * mean", "without the share of the mean"),
    ("the variance's share forgotten", "dx -= x_hat * mean_with_x_hat", "pass", "without the share of the variance"),
    ("both forgotten", "dx -= x_hat * mean_with_x_hat", "dx = dx_hat.copy()",
     "without the share of the mean μ and without the share of the variance"),
    ("the variance's share of the opposite sign", "dx -= x_hat", "dx += x_hat", "variance σ² of the opposite sign"),
    ("1/s forgotten", "dx *= inverse", "pass", "without its factor 1/s"),
    ("1/s twice", "dx *= inverse", "dx *= inverse * inverse", "1/σ² in place of 1/s"),
)
plant(
    "GroupNorm", "layers.standardize.products",
    ("the scale γ forgotten", "dx_hat = dy * weight", "dx_hat = dy * (weight == weight)", "without its factor γ"),
    ("the scale's gradient without x̂", "return dy * x_hat", "return dy * (x_hat == x_hat)", "without its factor x̂"),
)
plant(
    "BatchNorm2d", "layers.standardize.Standardizing.standardize",
    ("y written over the array that was saved",
     "y = self.scale_and_shift(x_hat, inverse, self.weight.value, self.bias.value)\n    self.save(x_hat, inverse)",
     "x_hat *= inverse\n    self.save(x_hat, inverse)\n    x_hat *= self.weight.value\n    y = x_hat + self.bias.value",
     "changed in place after it was saved"),
)
plant(
    "BatchNorm2d", "layers.standardize.Standardizing.standardize_backward",
    ("the gradients of scale and shift exchanged", "self.column_sums(with_x_hat.reshape(-1, C))",
     "self.column_sums(dy.reshape(-1, C))", "the gradient of bias|without its factor x̂"),
    ("the shift averaged", "self.bias.accumulate(self.column_sums(dy.reshape(-1, C)))",
     "self.bias.accumulate(dy.reshape(-1, C).mean(0))", "1/"),
    ("sums in place of means", "self.mean(dx_hat), self.mean", "len(dy) * self.mean(dx_hat), len(dy) * self.mean",
     "sums in place of means"),
)
