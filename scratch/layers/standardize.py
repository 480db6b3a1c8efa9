"""Numbers brought to mean 0 and variance 1, then scaled and shifted: what every norm does.

A norm says which numbers go together by its method `mean`, which gives the mean of them, in a shape that broadcasts:
BatchNorm2d's is over the images and their pixels, GroupNorm's over the pixels of one image and the channels of a group.
"""

from scratch.arrays import array_module, column_sums
from scratch.module import Module, elementwise


def centre(x, mu):
    """x ← x − μ, in place. Returns (x − μ)²."""
    x -= mu
    return x * x


def inverse_deviation(variance, eps):
    """1 / √(σ² + ε)."""
    return 1 / array_module(variance).sqrt(variance + eps)


def scale_and_shift(centred, inverse, weight, bias):
    """x̂ = (x − μ)/s, in place of x − μ. Returns γ x̂ + β."""
    centred *= inverse
    return centred * weight + bias


def products(dy, x_hat, weight):
    """(x̂ ∂L/∂y, ∂L/∂x̂, x̂ ∂L/∂x̂), of which sums are taken."""
    dx_hat = dy * weight
    return dy * x_hat, dx_hat, dx_hat * x_hat


def take_out(dx_hat, x_hat, inverse, mean, mean_with_x_hat):
    """∂L/∂x = (∂L/∂x̂ − mean(∂L/∂x̂) − x̂ · mean(x̂ ∂L/∂x̂)) / s.

    What is the same for all numbers that go together, and what goes with x̂, changes nothing in x̂: both are taken out
    of the gradient. docs/normalisation.md derives it.
    """
    dx = dx_hat - mean
    dx -= x_hat * mean_with_x_hat
    dx *= inverse
    return dx


class Standardizing(Module):
    """y = γ x̂ + β,   x̂ = (x − μ) / s,   s = √(σ² + ε),   μ = mean(x),   σ² = mean((x − μ)²), the biased variance.

        ∂L/∂x̂ = γ ∂L/∂y       ∂L/∂γ = Σ x̂ ∂L/∂y       ∂L/∂β = Σ ∂L/∂y       over all but the channels
        ∂L/∂x = (∂L/∂x̂ − mean(∂L/∂x̂) − x̂ mean(x̂ ∂L/∂x̂)) / s

    μ is taken in two parts, mean(x) and mean(x − mean(x)): where μ is large beside σ, rounding throws the first off,
    and the second finds by how much.
    """

    column_sums = staticmethod(column_sums)
    centre, inverse_deviation = elementwise(centre), elementwise(inverse_deviation)
    scale_and_shift = elementwise(scale_and_shift)
    products, take_out = elementwise(products), elementwise(take_out)

    def standardize(self, x):
        """(y, the two parts of μ, σ²); x̂ and 1/s are saved."""
        mu = self.mean(x)
        x_hat = x - mu
        rest = self.mean(x_hat)
        variance = self.mean(self.centre(x_hat, rest))
        inverse = self.inverse_deviation(variance, self.eps)
        y = self.scale_and_shift(x_hat, inverse, self.weight.value, self.bias.value)
        self.save(x_hat, inverse)
        return y, (mu, rest), variance

    def standardize_backward(self, dy):
        """∂L/∂x; the gradients of γ and β are accumulated."""
        x_hat, inverse = self.recall()
        with_x_hat, dx_hat, dx_hat_with_x_hat = self.products(dy, x_hat, self.weight.value)
        C = dy.shape[-1]
        self.bias.accumulate(self.column_sums(dy.reshape(-1, C)))
        self.weight.accumulate(self.column_sums(with_x_hat.reshape(-1, C)))
        return self.take_out(dx_hat, x_hat, inverse, self.mean(dx_hat), self.mean(dx_hat_with_x_hat))
