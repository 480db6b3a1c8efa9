"""Patches of an image, without a loop over pixels.

This is called im2col.

    patches[n, i, j, u, v, c] = x[n, i·s + u − p, j·s + v − p, c]        0 outside of x

Shapes: x (N, H, W, C), kernel (KH, KW), stride s, padding p; patches (N, OH, OW, KH, KW, C) with
OH = ⌊(H + 2p − KH) / s⌋ + 1.

With it a convolution is one matrix product: reshape patches to (N·OH·OW, KH·KW·C), the kernel to (KH·KW·C, O).

Where to begin: pad x by p on each side, once. Then hold one tap (u, v) fixed. What it sees over all (i, j) is a slice
of the padded image: it begins at row u and takes every s-th row. So KH·KW slices fill patches, whatever the image's
size.

In numbers, one row of pixels, a kernel of two taps, stride 1:

    >>> im2col(np.array([1.0, 2, 3]).reshape(1, 1, 3, 1), (1, 2), stride=1, padding=0).reshape(2, 2).tolist()
    [[1.0, 2.0], [2.0, 3.0]]
"""

import numpy as np


def im2col(x, kernel, stride, padding):
    (N, H, W, C), (KH, KW) = x.shape, kernel
    OH, OW = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    # yours:
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    patches = np.empty((N, OH, OW, KH, KW, C))
    for u, v in np.ndindex(KH, KW):
        patches[:, :, :, u, v] = padded[:, u : u + OH * stride : stride, v : v + OW * stride : stride]
    # instead:
    # padded = ...  # TODO x with p zeros on each side, shape (N, H + 2p, W + 2p, C)
    # patches = ...  # TODO shape (N, OH, OW, KH, KW, C)
    # end
    return patches


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "np.pad(x, ((0, 0), (p, p), (p, p), (0, 0))) pads the two middle axes with zeros.",
    "patches[:, :, :, u, v] has the shape (N, OH, OW, C). It is a slice of padded: rows u, u + s, u + 2s, …, OH of "
    "them.",
    "OH rows from u on, every s-th: padded[:, u : u + OH * s : s]. The columns likewise.",
)


def cases(rng):
    for N, H, W, C, kernel, stride, padding in ((5, 7, 6, 3, (3, 2), 1, 0), (1, 6, 5, 2, (2, 3), 2, 1),
                                                (3, 7, 4, 1, (4, 2), 3, 2)):
        yield {"x": rng.standard_normal((N, H, W, C)), "kernel": kernel, "stride": stride, "padding": padding}
