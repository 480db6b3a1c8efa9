"""The norms of layers/group_norm.py and layers/batch_norm.py, what stands between their means one kernel each."""

from scratch.accelerate.gpu.fused import fused
from scratch.accelerate.gpu.sums import column_means, column_sums
from scratch.arrays import array_module
from scratch.layers import BatchNorm2d, GroupNorm
from scratch.layers.checks import check_input


@fused
def centre(x, mu):
    """(x − μ, (x − μ)²)."""
    centred = x - mu
    return centred, centred * centred


@fused
def inverse_deviation(variance, eps):
    """1 / √(σ² + ε)."""
    return 1 / array_module(variance).sqrt(variance + eps)


@fused
def scale_and_shift(centred, inverse, weight, bias):
    """(x̂, γ x̂ + β) of x − μ and 1/s."""
    x_hat = centred * inverse
    return x_hat, x_hat * weight + bias


@fused
def products(dy, x_hat, weight):
    """(x̂ ∂L/∂y, ∂L/∂x̂, x̂ ∂L/∂x̂), of which sums are taken."""
    dx_hat = dy * weight
    return dy * x_hat, dx_hat, dx_hat * x_hat


@fused
def take_out(dx_hat, x_hat, inverse, mean, mean_with_x_hat):
    """∂L/∂x = (∂L/∂x̂ − mean(∂L/∂x̂) − x̂ · mean(x̂ ∂L/∂x̂)) / s."""
    return (dx_hat - mean - x_hat * mean_with_x_hat) * inverse


@fused
def move(running, of_batch, kept, momentum):
    """running ← kept · running + momentum · of_batch, in place."""
    running *= kept
    running += of_batch * momentum


def forward(norm, x, mean):
    """(y, x̂, 1/s, μ, σ²) of a norm's x, with its function `mean`."""
    mu = mean(x)
    centred, squares = centre(x, mu)
    variance = mean(squares)
    inverse = inverse_deviation(variance, norm.eps)
    x_hat, y = scale_and_shift(centred, inverse, norm.weight.value, norm.bias.value)
    return y, x_hat, inverse, mu, variance


def backward(norm, dy, mean):
    """∂L/∂x, and the gradients of γ and β, of a norm that saved x̂ and 1/s."""
    x_hat, inverse = norm.recall()
    with_x_hat, dx_hat, dx_hat_with_x_hat = products(dy, x_hat, norm.weight.value)
    C = dy.shape[-1]
    norm.bias.accumulate(column_sums(dy.reshape(-1, C)))
    norm.weight.accumulate(column_sums(with_x_hat.reshape(-1, C)))
    return take_out(dx_hat, x_hat, inverse, mean(dx_hat), mean(dx_hat_with_x_hat))


class FusedGroupNorm(GroupNorm):
    """GroupNorm, five kernels beside its means and sums."""

    def forward(self, x):
        check_input(self, x, ("N", "H", "W", self.weight.value.size), self.weight.value)
        y, x_hat, inverse, _, _ = forward(self, x, self.mean)
        self.save(x_hat, inverse)
        return y

    def backward(self, dy):
        return backward(self, dy, self.mean)


class FusedBatchNorm2d(BatchNorm2d):
    """BatchNorm2d, in training five kernels beside its means and sums, and three for the running statistics."""

    def forward(self, x):
        if not self.training or x.size <= x.shape[-1]:  # a single pixel, which the plain form refuses
            return super().forward(x)
        check_input(self, x, ("N", "H", "W", self.weight.value.size), self.weight.value)
        rows = x.reshape(-1, x.shape[-1])
        y, x_hat, inverse, mean, variance = forward(self, rows, column_means)
        self.track(mean, variance, len(rows))
        self.save(x_hat, inverse)
        return y.reshape(x.shape)

    def backward(self, dy):
        return backward(self, dy.reshape(-1, dy.shape[-1]), column_means).reshape(dy.shape)

    def track(self, mean, variance, count):
        kept, unbiased = 1 - self.momentum, count / (count - 1)
        move(self.running_mean.value, mean, kept, self.momentum)
        move(self.running_var.value, variance, kept, self.momentum * unbiased)
        self.num_batches_tracked.value += 1


FORMS = {GroupNorm: FusedGroupNorm, BatchNorm2d: FusedBatchNorm2d}
