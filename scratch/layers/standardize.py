"""What every norm does: it brings numbers to mean 0 and variance 1, then scales and shifts them.

The method `mean` of a norm defines which numbers are normalised together. It gives their mean in a shape that
broadcasts. BatchNorm2d takes it over the images and their pixels, GroupNorm over the pixels of one image and the
channels of one group.
"""

from scratch.arrays import array_module, column_sums
from scratch.module import Module, elementwise


def centre(x, mu):
    """x ← x − μ, in place. Returns (x − μ)²."""
    x -= mu
    return x * x


def inverse_deviation(variance, eps):
    """1 / √(σ² + eps)."""
    return 1 / array_module(variance).sqrt(variance + eps)


def scale_and_shift(centred, inverse, weight, bias):
    """x − μ becomes x̂ = (x − μ) / √(σ² + eps), in place. Returns w x̂ + b."""
    centred *= inverse
    return centred * weight + bias


def products(dy, x_hat, weight):
    """(x̂ ∂L/∂y, ∂L/∂x̂, x̂ ∂L/∂x̂): backward takes sums and means of them."""
    dx_hat = dy * weight
    return dy * x_hat, dx_hat, dx_hat * x_hat


def take_out(dx_hat, x_hat, inverse, mean, mean_with_x_hat):
    """∂L/∂x = (∂L/∂x̂ − mean(∂L/∂x̂) − x̂ · mean(x̂ ∂L/∂x̂)) / √(σ² + eps).

    Adding a constant, or a multiple of x̂, to the numbers that are normalised together leaves x̂ as it is. So the
    gradient has no part along either, and both parts are subtracted. docs/reference/normalisation.md derives it.
    """
    dx = dx_hat - mean
    dx -= x_hat * mean_with_x_hat
    dx *= inverse
    return dx


class Standardizing(Module):
    """y = w x̂ + b,   x̂ = (x − μ) / √(σ² + eps),   μ = mean(x),   σ² = mean((x − μ)²), the biased variance.

        ∂L/∂x̂ = w ∂L/∂y       ∂L/∂w = Σ x̂ ∂L/∂y       ∂L/∂b = Σ ∂L/∂y       over all but the channels
        ∂L/∂x = (∂L/∂x̂ − mean(∂L/∂x̂) − x̂ mean(x̂ ∂L/∂x̂)) / √(σ² + eps)

    μ is computed in two parts, mean(x) and mean(x − mean(x)). Where μ is much larger than σ, the first part has a
    rounding error, and the second part corrects it.
    """

    column_sums = staticmethod(column_sums)
    centre, inverse_deviation = elementwise(centre), elementwise(inverse_deviation)
    scale_and_shift = elementwise(scale_and_shift)
    products, take_out = elementwise(products), elementwise(take_out)

    def standardize(self, x):
        """(y, the two parts of μ, σ²); x̂ and 1 / √(σ² + eps) are saved."""
        mu = self.mean(x)
        x_hat = x - mu
        rest = self.mean(x_hat)
        variance = self.mean(self.centre(x_hat, rest))
        inverse = self.inverse_deviation(variance, self.eps)
        y = self.scale_and_shift(x_hat, inverse, self.weight.value, self.bias.value)
        self.save(x_hat, inverse)
        return y, (mu, rest), variance

    def standardize_backward(self, dy):
        """∂L/∂x; the gradients of w and b are accumulated."""
        x_hat, inverse = self.recall()
        with_x_hat, dx_hat, dx_hat_with_x_hat = self.products(dy, x_hat, self.weight.value)
        C = dy.shape[-1]
        self.bias.accumulate(self.column_sums(dy.reshape(-1, C)))
        self.weight.accumulate(self.column_sums(with_x_hat.reshape(-1, C)))
        return self.take_out(dx_hat, x_hat, inverse, self.mean(dx_hat), self.mean(dx_hat_with_x_hat))
