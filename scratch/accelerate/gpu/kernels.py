"""im2col and col2im as one kernel each on a GPU. The plain im2col starts three, the plain col2im one for each tap.

Both kernels have one thread for each number of the result, and the thread finds what belongs there. So no two threads
write to the same place, and col2im adds in the plain form's order. CuPy's ElementwiseKernel runs the C++ below for
i = 0, 1, 2, …, with y for the i-th number of the result; `raw` x is indexed as one long row.
"""

import functools

import numpy as np

from scratch.arrays import array_module
from scratch.layers.patches import Window

INTEGERS = {"int32": "int", "int64": "long long"}
SIZES = "H W C I J KH KW SH SW PH PW DH DW".split()

# The i-th number of the patches stands at (n, p, q, u, v, c): tap (u, v) of the window at its position (p, q).
IM2COL = """
    Integer n = i;
    const Integer c = n % C;   n /= C;
    const Integer v = n % KW;  n /= KW;
    const Integer u = n % KH;  n /= KH;
    const Integer q = n % J;   n /= J;
    const Integer p = n % I;   n /= I;
    const Integer row = p * SH + u * DH - PH, column = q * SW + v * DW - PW;
    const bool inside = row >= 0 && row < H && column >= 0 && column < W;
    y = inside ? x[((n * H + row) * W + column) * C + c] : pad;
"""

# The i-th number of the image stands at (n, row, column, c). A tap (u, v) falls on it from one position (p, q) or none.
COL2IM = """
    Integer n = i;
    const Integer c = n % C;       n /= C;
    const Integer column = n % W;  n /= W;
    const Integer row = n % H;     n /= H;
    T sum = 0;
    for (Integer u = 0; u < KH; ++u) {
        const Integer down = row + PH - u * DH, p = down / SH;
        if (down < 0 || down % SH != 0 || p >= I) continue;
        for (Integer v = 0; v < KW; ++v) {
            const Integer across = column + PW - v * DW, q = across / SW;
            if (across < 0 || across % SW != 0 || q >= J) continue;
            sum += x[((((n * I + p) * J + q) * KH + u) * KW + v) * C + c];
        }
    }
    y = sum;
"""


@functools.cache
def kernel(xp, name, body, more, integer):
    """The kernel of array module `xp` with sizes of type `integer`: of 32 bits if they suffice, because a
    division of 64 bits takes a GPU several times as long."""
    arguments = ", ".join(["raw T x", *more, *(f"{integer} {size}" for size in SIZES)])
    return xp.ElementwiseKernel(arguments, "T y", body.replace("Integer", INTEGERS[integer]), name)


class KernelWindow(Window):
    """A Window whose im2col and col2im are one kernel each on CuPy, and the plain ones on NumPy."""

    def sizes(self, size, channels, positions):
        """The values of SIZES, in its order."""
        return (*size, channels, *positions, *self.kernel, *self.stride, *self.padding, *self.dilation)

    @property
    def is_identity(self):
        """Is each patch a pixel?"""
        return self.kernel == self.stride == (1, 1) and self.padding == (0, 0)

    def im2col(self, x, positions, pad_value=0):
        xp = array_module(x)
        if xp is np or self.is_identity:
            return super().im2col(x, positions, pad_value)
        N, H, W, C = x.shape
        y = xp.empty((N, *positions, *self.kernel, C), x.dtype)
        im2col = kernel(xp, "im2col", IM2COL, ("T pad",), integer_for(x, y))
        return im2col(x, float(pad_value), *self.sizes((H, W), C, positions), y)

    def col2im(self, patches, size):
        xp = array_module(patches)
        if xp is np:
            return super().col2im(patches, size)
        N, I, J, KH, KW, C = patches.shape
        if self.is_identity and (I, J) == tuple(size):
            return patches.reshape(N, *size, C)
        y = xp.empty((N, *size, C), patches.dtype)
        col2im = kernel(xp, "col2im", COL2IM, (), integer_for(patches, y))
        return col2im(patches, *self.sizes(size, C, (I, J)), y)


def integer_for(*arrays):
    """The integer type for indices into these arrays. It has room for somewhat larger ones, because the kernels compute
    places outside of an image before they test for them."""
    return "int32" if max(array.size for array in arrays) < 2**30 else "int64"
