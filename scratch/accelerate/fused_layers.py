"""The activations of layers/activation.py in one kernel a direction. ReLU's forward is one already, and Tanh's."""

from scratch.accelerate.fused import fused
from scratch.arrays import array_module
from scratch.layers import LeakyReLU, ReLU, Sigmoid, SiLU, Tanh
from scratch.layers.activation import sigmoid as plain_sigmoid

sigmoid = fused(plain_sigmoid)


@fused
def relu_backward(dy, y):
    return dy * (y > 0)


class FusedReLU(ReLU):
    """ReLU, its backward one kernel."""

    def backward(self, dy):
        (y,) = self.recall()
        return relu_backward(dy, y)


@fused
def leaky_relu(x, slope):
    positive = x > 0
    return array_module(x).where(positive, x, slope * x), positive


@fused
def leaky_relu_backward(dy, positive, slope):
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
    return dy * (1 - y * y)


class FusedTanh(Tanh):
    """Tanh, its backward one kernel."""

    def backward(self, dy):
        (y,) = self.recall()
        return tanh_backward(dy, y)


@fused
def silu(x):
    s = plain_sigmoid(x)
    return x * s, s


@fused
def silu_backward(dy, x, s):
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
