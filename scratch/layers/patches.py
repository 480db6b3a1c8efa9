"""Patches of an image as rows of a matrix (im2col), and the adjoint that adds rows back into an image (col2im).

With these two a convolution is one matrix product. With zeros around the image both are linear, and they are each
other's transpose,

    ⟨im2col(x), P⟩ = ⟨x, col2im(P)⟩   for all x, P,

so the backward of one is the other. (Chellapilla et al. 2006, High performance convolutional neural networks)
"""

from scratch.arrays import array_module, is_integer


def pair(value, name, least):
    """An integer or a pair of integers as a pair of ints. Raises ValueError, with `name`, unless each is ≥ least."""
    both = (value, value) if is_integer(value) else tuple(value) if isinstance(value, tuple | list) else ()
    if len(both) != 2 or not all(is_integer(v) and v >= least for v in both):
        raise ValueError(f"{name} takes an integer ≥ {least} or a pair of them, got {value!r}")
    return tuple(int(v) for v in both)


class Window:
    """A sliding window: its kernel, stride, padding and dilation, each a pair (vertical, horizontal)."""

    def __init__(self, kernel_size, stride, padding, dilation=1):
        self.kernel = pair(kernel_size, "kernel_size", 1)
        self.stride = pair(stride, "stride", 1)
        self.padding = pair(padding, "padding", 0)
        self.dilation = pair(dilation, "dilation", 1)

    def settings(self):
        """Its numbers as a layer's `repr` shows them; those that change nothing are left out."""
        found = {"kernel_size": self.kernel, "stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        usual = {"padding": (0, 0), "dilation": (1, 1)}
        return ", ".join(f"{name}={value}" for name, value in found.items() if value != usual.get(name))

    def positions(self, size):
        """(I, J): how often the window fits into a padded image of `size` (H, W).

        I = ⌊(H + 2·PH − DH·(KH − 1) − 1) / SH⌋ + 1, and J likewise. Raises ValueError if the window does not fit.
        """
        counts = tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(size, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        )
        if min(counts) < 1:
            raise ValueError(f"a kernel of {self.kernel} with dilation {self.dilation} does not fit into an image of "
                             f"{tuple(size)} padded by {self.padding}")
        return counts

    def image_size(self, positions, output_padding=(0, 0)):
        """(H, W) of an image in which the window has `positions` (I, J).

        H = (I − 1)·SH − 2·PH + DH·(KH − 1) + 1 + output_padding, and W likewise. Raises ValueError if one is below 1.
        """
        size = tuple(
            (i - 1) * s - 2 * p + d * (k - 1) + 1 + extra
            for i, k, s, p, d, extra in zip(
                positions, self.kernel, self.stride, self.padding, self.dilation, output_padding, strict=True)
        )
        if min(size) < 1:
            raise ValueError(f"{tuple(positions)} positions of a {self.kernel} kernel give an image of size {size}")
        return size

    def im2col(self, x, positions, pad_value=0):
        """patches[n, i, j, u, v, c] = x[n, i·SH + u·DH − PH, j·SW + v·DW − PW, c], or pad_value outside of x.

        Shapes: x (N, H, W, C) → patches (N, I, J, KH, KW, C) with (I, J) = positions.
        """
        xp = array_module(x)
        N, H, W, C = x.shape
        (PH, PW), (SH, SW), (DH, DW) = self.padding, self.stride, self.dilation
        if PH or PW:
            padded = xp.full((N, H + 2 * PH, W + 2 * PW, C), pad_value, x.dtype)
            padded[:, PH : PH + H, PW : PW + W] = x
        else:
            padded = xp.ascontiguousarray(x)
        n, h, w, c = padded.strides
        view = xp.lib.stride_tricks.as_strided(
            padded, (N, *positions, *self.kernel, C), (n, h * SH, w * SW, h * DH, w * DW, c))
        return xp.ascontiguousarray(view)

    def col2im(self, patches, size):
        """x[n, row, col, c] = Σ patches[n, i, j, u, v, c], over all i, j, u, v with row = i·SH + u·DH − PH and
        col = j·SW + v·DW − PW.

        Shapes: patches (N, I, J, KH, KW, C) → x (N, H, W, C) with (H, W) = size.
        """
        N, I, J, KH, KW, C = patches.shape
        H, W = size
        (PH, PW), (SH, SW), (DH, DW) = self.padding, self.stride, self.dilation
        padded = array_module(patches).zeros((N, H + 2 * PH, W + 2 * PW, C), patches.dtype)
        for u in range(KH):
            for v in range(KW):
                padded[:, u * DH : u * DH + I * SH : SH, v * DW : v * DW + J * SW : SW] += patches[:, :, :, u, v]
        return padded[:, PH : PH + H, PW : PW + W]
