"""Patches of an image, without a loop over pixels.

This is called im2col.

    patches[n, i, j, u, v, c] = x[n, i·stride + u − padding, j·stride + v − padding, c]        0 outside x

Shapes: x (N, H, W, C), kernel_size (KH, KW), patches (N, I, J, KH, KW, C) with
I = ⌊(H + 2·padding − KH) / stride⌋ + 1, and J likewise.

With it a convolution is one matrix product: reshape patches to (N·I·J, KH·KW·C), the kernel to (KH·KW·C, O).

Where to begin: pad x with zeros on each side, once. Then hold one tap (u, v) fixed. What it sees over all (i, j) is a
slice of the padded image. The slice begins at row u and goes on in steps of stride. So KH·KW slices fill patches,
whatever the image's size.

In numbers, one row of pixels, a kernel of two taps, stride 1:

    >>> im2col(np.array([1.0, 2, 3]).reshape(1, 1, 3, 1), (1, 2), stride=1, padding=0).reshape(2, 2).tolist()
    [[1.0, 2.0], [2.0, 3.0]]
"""

import numpy as np


def im2col(x, kernel_size, stride, padding):
    (N, H, W, C), (KH, KW) = x.shape, kernel_size
    I, J = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    # yours:
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    patches = np.empty((N, I, J, KH, KW, C))
    for u, v in np.ndindex(KH, KW):
        patches[:, :, :, u, v] = padded[:, u : u + I * stride : stride, v : v + J * stride : stride]
    # instead:
    # padded = ...  # TODO x with zeros around it, shape (N, H + 2·padding, W + 2·padding, C)
    # patches = ...  # TODO shape (N, I, J, KH, KW, C)
    # end
    return patches


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0))) pads the two middle axes with zeros.",
    "patches[:, :, :, u, v] has the shape (N, I, J, C). It is a slice of padded: the rows u, u + stride, "
    "u + 2·stride, …, I of them.",
    "These I rows are padded[:, u : u + I * stride : stride]. The columns likewise.",
)


def cases(rng):
    for N, H, W, C, kernel_size, stride, padding in ((5, 7, 6, 3, (3, 2), 1, 0), (1, 6, 5, 2, (2, 3), 2, 1),
                                                     (3, 7, 4, 1, (4, 2), 3, 2)):
        yield {"x": rng.standard_normal((N, H, W, C)), "kernel_size": kernel_size, "stride": stride,
               "padding": padding}
