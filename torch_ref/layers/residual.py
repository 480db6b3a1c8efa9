"""The residual block."""

from torch import nn

from torch_ref.layers.norm import normed_relu


class ResidualBlock(nn.Module):
    """y = x + conv1×1(relu(conv3×3(relu(x)))), with a norm before each ReLU where there is one.

    No ReLU works in place: the addition needs x as it was. Shapes: x, y (N, channels, H, W).
    """

    def __init__(self, channels, hidden, norm="none", *, dtype):
        super().__init__()
        bias = norm == "none"
        self.branch = nn.Sequential(
            *normed_relu(norm, channels, dtype),
            nn.Conv2d(channels, hidden, 3, padding=1, bias=bias, dtype=dtype),
            *normed_relu(norm, hidden, dtype),
            nn.Conv2d(hidden, channels, 1, bias=bias, dtype=dtype),
        )

    def forward(self, x):
        return x + self.branch(x)
