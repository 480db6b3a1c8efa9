"""The activations of layers/activation.py in one kernel a direction. ReLU's forward is one already, and Tanh's."""

from scratch.accelerate.gpu.fused import fused
from scratch.arrays import array_module
from scratch.layers import LeakyReLU, ReLU, Sigmoid, SiLU, Tanh
from scratch.layers.activation import sigmoid as plain_sigmoid

sigmoid = fused(plain_sigmoid)


@fused
def relu_backward(dy, y):
    """∂L/∂y · [y > 0]."""
    return dy * (y > 0)


class FusedReLU(ReLU):
    """ReLU, its backward one kernel."""

    def backward(self, dy):
        (y,) = self.recall()
        return relu_backward(dy, y)


@fused
def leaky_relu(x, slope):
    """(y, x > 0): y is x where it is positive, and slope · x elsewhere."""
    positive = x > 0
    return array_module(x).where(positive, x, slope * x), positive


@fused
def leaky_relu_backward(dy, positive, slope):
    """∂L/∂y, times the slope where x was not positive."""
    return array_module(dy).where(positive, dy, slope * dy)


class FusedLeakyReLU(LeakyReLU):
    """LeakyReLU, forward and backward one kernel each."""

    def forward(self, x):
        y, positive = leaky_relu(x, self.negative_slope)
        self.save(positive)
        return y

    def backward(self, dy):
        (positive,) = self.recall()
        return leaky_relu_backward(dy, positive, self.negative_slope)


@fused
def sigmoid_backward(dy, y):
    """∂L/∂y · y (1 − y)."""
    return dy * (y * (1 - y))


class FusedSigmoid(Sigmoid):
    """Sigmoid, forward and backward one kernel each."""

    def forward(self, x):
        y = sigmoid(x)
        self.save(y)
        return y

    def backward(self, dy):
        (y,) = self.recall()
        return sigmoid_backward(dy, y)


@fused
def tanh_backward(dy, y):
    """∂L/∂y · (1 − y²)."""
    return dy * (1 - y * y)


class FusedTanh(Tanh):
    """Tanh, its backward one kernel."""

    def backward(self, dy):
        (y,) = self.recall()
        return tanh_backward(dy, y)


@fused
def silu(x):
    """(x s, s) with s = σ(x)."""
    s = plain_sigmoid(x)
    return x * s, s


@fused
def silu_backward(dy, x, s):
    """∂L/∂y · s (1 + x (1 − s)) with s = σ(x)."""
    return dy * (s * (1 + x * (1 - s)))


class FusedSiLU(SiLU):
    """SiLU, forward and backward one kernel each."""

    def forward(self, x):
        y, s = silu(x)
        self.save(x, s)
        return y

    def backward(self, dy):
        x, s = self.recall()
        return silu_backward(dy, x, s)


FORMS = {ReLU: FusedReLU, LeakyReLU: FusedLeakyReLU, Sigmoid: FusedSigmoid, Tanh: FusedTanh, SiLU: FusedSiLU}
