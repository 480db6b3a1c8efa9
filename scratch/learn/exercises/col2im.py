"""The backward of im2col.

Gradients of patches, added back into an image: this is called col2im.

forward is im2col. Each number of patches is a copy of one number of x (or of the zero padding):

    patches[n, i, j, u, v, c] = x[n, i·stride + u − padding, j·stride + v − padding, c]

Shapes: x (N, H, W, C), kernel_size (KH, KW), patches (N, I, J, KH, KW, C).

Where to begin: let y₁ = x and y₂ = x be two copies of x. How does L change when x does? Now count how often a pixel in
the middle of the image was copied, and a pixel in its corner. Then turn forward around: where it reads a slice of
padded, backward adds to the same slice.

In numbers, one row of three pixels, a kernel of two taps. The middle pixel was copied twice:

    >>> patches, saved = forward(np.array([1.0, 2, 3]).reshape(1, 1, 3, 1), (1, 2), stride=1, padding=0)
    >>> dpatches = np.array([[1.0, 10], [100, 1000]]).reshape(1, 1, 2, 1, 2, 1)
    >>> backward(dpatches, saved).ravel().tolist()
    [1.0, 110.0, 1000.0]
"""

import numpy as np


def forward(x, kernel_size, stride, padding):
    (N, H, W, C), (KH, KW) = x.shape, kernel_size
    I, J = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    patches = np.empty((N, I, J, KH, KW, C))
    for u, v in np.ndindex(KH, KW):
        patches[:, :, :, u, v] = padded[:, u : u + I * stride : stride, v : v + J * stride : stride]
    return patches, ((H, W), stride, padding)


def backward(dpatches, saved):
    (H, W), stride, padding = saved
    N, I, J, KH, KW, C = dpatches.shape
    # yours:
    dpadded = np.zeros((N, H + 2 * padding, W + 2 * padding, C))
    for u, v in np.ndindex(KH, KW):
        dpadded[:, u : u + I * stride : stride, v : v + J * stride : stride] += dpatches[:, :, :, u, v]
    dx = dpadded[:, padding : padding + H, padding : padding + W]
    # instead:
    # dpadded = ...  # TODO ∂L/∂padded, shape (N, H + 2·padding, W + 2·padding, C)
    # dx = ...  # TODO ∂L/∂x, shape (N, H, W, C)
    # end
    return dx


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "A number that was copied several times has a gradient for each copy. They add up.",
    "dpadded begins as zeros. For each tap (u, v), dpatches[:, :, :, u, v] is added to the slice of dpadded that "
    "forward read. A pixel lies in slices of several taps, so it has to be += and not =.",
    "padded is x with a border; the border is no part of x. dx is what is left of dpadded without it.",
)


def cases(rng):
    for N, H, W, C, kernel_size, stride, padding in ((5, 7, 6, 3, (3, 2), 1, 0), (1, 6, 5, 2, (2, 3), 2, 1),
                                                     (3, 7, 4, 1, (4, 2), 3, 2)):
        yield {"x": rng.standard_normal((N, H, W, C)), "kernel_size": kernel_size, "stride": stride,
               "padding": padding}
