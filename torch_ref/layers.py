"""The layers of scratch's that torch.nn does not have."""

from torch import nn


class ResidualBlock(nn.Module):
    """y = x + conv1×1(relu(conv3×3(relu(x)))). No ReLU works in place: the addition needs x as it was."""

    def __init__(self, channels, hidden, dtype):
        super().__init__()
        self.branch = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, hidden, 3, padding=1, dtype=dtype),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1, dtype=dtype),
        )

    def forward(self, x):
        return x + self.branch(x)


class Shift(nn.Module):
    """y = x + offset."""

    def __init__(self, offset):
        super().__init__()
        self.offset = offset

    def forward(self, x):
        return x + self.offset
