"""A convolution whose kernel is two or three times its stride, with fewer products.

Cut the padded image into cells of one stride, and take each cell as one vector d of SH·SW·C numbers. The kernel covers
K = 2 or 3 cells in each direction. So on cells it is a convolution with a kernel of K and a stride of 1. In one
direction Q neighbouring outputs take Q·K products; filtering.py makes them from P = Q + K − 1, with three linear maps
D, G and Aᵀ. In both directions these are P² products instead of (Q·K)², done as P² matrix products:

    V = D d      U = G g      y = Aᵀ (V U)
    ∂L/∂m = A ∂L/∂y      ∂L/∂g = Gᵀ (Vᵀ ∂L/∂m)      ∂L/∂d = Dᵀ (∂L/∂m Uᵀ)

A transposed convolution's forward is the computation of ∂L/∂d. Results equal those of the plain form up to
rounding, and the sums and differences that the maps take before the products are rounded, too.
"""

from scratch.accelerate.cpu.filtering import FILTERINGS, add_overlapping, both_ways
from scratch.arrays import array_module
from scratch.layers import Conv2d, ConvTranspose2d
from scratch.layers.checks import check_input

CACHED = 2**20  # bytes of tiles that are transformed at a time; half or twice as many made no difference
KERNEL_ROWS = 40  # the kernel's maps take about as long as so many more rows in each product (measured)
LEAST_CHANNELS = {Conv2d: 4, ConvTranspose2d: 3}  # of the image; the first convolution's 3 take longer (measured)


def taps_of(window):
    """2 or 3 for a kernel that is so many strides high and wide; None for any other, or a dilated one."""
    taps = {k / s for k, s in zip(window.kernel, window.stride, strict=True)}
    return int(taps.pop()) if len(taps) == 1 and taps <= FILTERINGS.keys() and window.dilation == (1, 1) else None


def tiles_along(positions, outputs):
    """(T, S): how many tiles with so many outputs a side cover all positions."""
    return tuple(-(-count // outputs) for count in positions)


def best_filtering(taps, images, positions):
    """The filtering with the least work: P² products, each with a row for every tile and KERNEL_ROWS more.

    Larger tiles have fewer products for an output, but more in all for the kernel, and more of a tile may lie beyond
    the image.
    """
    def work(filtering):
        T, S = tiles_along(positions, filtering.outputs)
        return filtering.products**2 * (images * T * S + KERNEL_ROWS)

    return min(FILTERINGS[taps], key=work)


class Tiles:
    """An image cut into tiles: each holds Q × Q positions of the window and the P × P cells that they cover.

    N, (H, W), C and (I, J): the image's shape and its positions. Where Q does not divide a number of positions, the
    last tiles reach beyond the image, into zeros.
    """

    def __init__(self, window, shape, positions):
        self.N, self.H, self.W, self.C = shape
        self.I, self.J = positions
        (self.PH, self.PW), (self.SH, self.SW) = window.padding, window.stride
        self.filtering = best_filtering(taps_of(window), self.N, positions)
        self.P, self.Q = self.filtering.products, self.filtering.outputs
        self.T, self.S = tiles_along(positions, self.Q)
        self.rows, self.columns = (self.Q * count + self.P - self.Q for count in (self.T, self.S))  # of cells
        # The part of the image that the cells reach. A strided convolution may not reach the last rows and columns.
        self.h = min(self.H, self.rows * self.SH - self.PH)
        self.w = min(self.W, self.columns * self.SW - self.PW)

    def blocks(self, length, itemsize):
        """Blocks of images whose tiles fit the cache together, each as (slice of N, slice of N·T·S·length)."""
        length *= self.T * self.S
        count = max(1, CACHED // (self.P**2 * length * itemsize))
        for start in range(0, self.N, count):
            stop = min(start + count, self.N)
            yield slice(start, stop), slice(start * length, stop * length)

    def inner(self, padded):
        """The part of padded images (n, rows, SH, columns, SW, C) that the image fills: (n, h, w, C)."""
        padded = padded.reshape(len(padded), self.rows * self.SH, self.columns * self.SW, self.C)
        return padded[:, self.PH : self.PH + self.h, self.PW : self.PW + self.w]

    def cut(self, padded):
        """The tiles of padded images (n, rows, SH, columns, SW, C), which overlap: (P, P, n, T, S, SH, SW, C)."""
        n, row, SH, column, SW, C = padded.strides
        shape = (self.P, self.P, len(padded), self.T, self.S, self.SH, self.SW, self.C)
        strides = (row, column, n, row * self.Q, column * self.Q, SH, SW, C)
        return array_module(padded).lib.stride_tricks.as_strided(padded, shape, strides)

    def from_image(self, x):
        """V = D d along both directions: x (N, H, W, C) → (P², N·T·S, SH·SW·C)."""
        xp, cell = array_module(x), self.SH * self.SW * self.C
        V = xp.empty((self.P, self.P, self.N * self.T * self.S * cell), x.dtype)
        for images, numbers in self.blocks(cell, x.itemsize):
            n = images.stop - images.start
            padded = xp.zeros((n, self.rows, self.SH, self.columns, self.SW, self.C), x.dtype)
            self.inner(padded)[...] = x[images, : self.h, : self.w]
            tiles = self.cut(padded).reshape(self.P, self.P, -1)
            both_ways(self.filtering.image, tiles, V[..., numbers])
        return V.reshape(self.P**2, self.N * self.T * self.S, cell)

    def to_image(self, dV):
        """x = Dᵀ dV along both directions, the adjoint of `from_image`: (P², N·T·S, SH·SW·C) → (N, H, W, C)."""
        xp, dV = array_module(dV), dV.reshape(self.P, self.P, -1)
        reached = (self.h, self.w) == (self.H, self.W)
        x = (xp.empty if reached else xp.zeros)((self.N, self.H, self.W, self.C), dV.dtype)
        for images, numbers in self.blocks(self.SH * self.SW * self.C, dV.itemsize):
            n = images.stop - images.start
            tiles = both_ways(self.filtering.image.T, dV[..., numbers])
            tiles = tiles.reshape(self.P, self.P, n, self.T, self.S, self.SH, self.SW, self.C)
            strips = xp.empty((self.P, n, self.T, self.SH, self.columns, self.SW, self.C), dV.dtype)
            add_overlapping(tiles.transpose(1, 4, 0, 2, 3, 5, 6, 7), strips.transpose(4, 0, 1, 2, 3, 5, 6), self.Q)
            padded = xp.empty((n, self.rows, self.SH, self.columns, self.SW, self.C), dV.dtype)
            add_overlapping(strips.swapaxes(1, 2), padded.swapaxes(0, 1), self.Q)
            x[images, : self.h, : self.w] = self.inner(padded)
        return x

    def from_positions(self, y):
        """A along both directions: y (N, I, J, O) → (P², N·T·S, O)."""
        N, I, J, O = y.shape
        xp, whole = array_module(y), (self.Q * self.T, self.Q * self.S)
        if (I, J) != whole:
            y, part = xp.zeros((N, *whole, O), y.dtype), y
            y[:, :I, :J] = part
        y = y.reshape(N, self.T, self.Q, self.S, self.Q, O)
        m = xp.empty((self.P, self.P, N * self.T * self.S * O), y.dtype)
        for images, numbers in self.blocks(O, y.itemsize):
            tiles = y[images].transpose(2, 4, 0, 1, 3, 5).reshape(self.Q, self.Q, -1)
            both_ways(self.filtering.output, tiles, m[..., numbers])
        return m.reshape(self.P**2, N * self.T * self.S, O)

    def to_positions(self, m):
        """y = Aᵀ m along both directions: (P², N·T·S, O) → (N, I, J, O)."""
        O = m.shape[-1]
        m = m.reshape(self.P, self.P, -1)
        y = array_module(m).empty((self.N, self.T, self.Q, self.S, self.Q, O), m.dtype)
        for images, numbers in self.blocks(O, m.itemsize):
            tiles = both_ways(self.filtering.output.T, m[..., numbers])
            tiles = tiles.reshape(self.Q, self.Q, -1, self.T, self.S, O)
            y[images] = tiles.transpose(2, 3, 0, 4, 1, 5)
        return y.reshape(self.N, self.Q * self.T, self.Q * self.S, O)[:, : self.I, : self.J]


def fits(layer, least_channels=None):
    """Is there a filtering for the layer's kernel, and does its image have LEAST_CHANNELS, or `least_channels`?"""
    if least_channels is None:
        least_channels = LEAST_CHANNELS[type(layer)]
    return taps_of(layer.window) is not None and image_channels(layer) >= least_channels


def image_channels(layer):
    """How many channels the layer's image has: a convolution's input, or a transposed one's output."""
    return layer.weight.value.shape[2 if isinstance(layer, Conv2d) else 3]


class FewerProducts:
    """What both layers below have in common: the kernel's transform and its adjoint.

    Each layer's `cells_of` gives the kernel by the K × K cells that it covers.
    """

    def transformed_kernel(self, filtering, rows):
        """U = G g along both directions: (P², rows, the rest)."""
        g = self.cells_of(self.weight.value).reshape(filtering.taps, filtering.taps, -1)
        return both_ways(filtering.kernel, g).reshape(filtering.products**2, rows, -1)

    def accumulate_from(self, filtering, dU):
        """Add ∂L/∂g = Gᵀ ∂L/∂U along both directions to the weights' gradient."""
        dW = array_module(dU).empty_like(self.weight.value)
        cells, P = self.cells_of(dW), filtering.products
        cells[...] = both_ways(filtering.kernel.T, dU.reshape(P, P, -1)).reshape(cells.shape)
        self.weight.accumulate(dW)


class WinogradConv2d(FewerProducts, Conv2d):
    """Conv2d with the matrix products of this module."""

    def cells_of(self, kernel):
        """A kernel (KH, KW, C, O) by the cells that it covers: (K, K, SH, SW, C, O), without a copy."""
        (SH, SW), (KH, KW, C, O) = self.window.stride, kernel.shape
        return kernel.reshape(KH // SH, SH, KW // SW, SW, C, O).transpose(0, 2, 1, 3, 4, 5)

    def forward(self, x):
        W = self.weight.value
        check_input(self, x, ("N", "H", "W", W.shape[2]), W)
        tiles = Tiles(self.window, x.shape, self.window.positions(x.shape[1:3]))
        V = tiles.from_image(x)
        U = self.transformed_kernel(tiles.filtering, V.shape[2])
        y = tiles.to_positions(V @ U)
        if self.bias:
            y += self.bias.value
        self.save(tiles, V, U)
        return y

    def backward(self, dy):
        tiles, V, U = self.recall()
        if self.bias:
            self.bias.accumulate(self.column_sums(dy.reshape(-1, dy.shape[-1])))
        dm = tiles.from_positions(dy)
        self.accumulate_from(tiles.filtering, V.swapaxes(1, 2) @ dm)
        return tiles.to_image(dm @ U.swapaxes(1, 2)) if self.needs_input_gradient else None


class WinogradConvTranspose2d(FewerProducts, ConvTranspose2d):
    """ConvTranspose2d with the matrix products of this module."""

    def cells_of(self, kernel):
        """A kernel (C, KH, KW, O) by the cells that it covers: (K, K, C, SH, SW, O), without a copy."""
        (SH, SW), (C, KH, KW, O) = self.window.stride, kernel.shape
        return kernel.reshape(C, KH // SH, SH, KW // SW, SW, O).transpose(1, 3, 0, 2, 4, 5)

    def forward(self, x):
        W = self.weight.value
        C, _, _, O = W.shape
        check_input(self, x, ("N", "H", "W", C), W)
        positions = x.shape[1:3]
        tiles = Tiles(self.window, (len(x), *self.window.image_size(positions, self.output_padding), O), positions)
        m = tiles.from_positions(x)
        U = self.transformed_kernel(tiles.filtering, C)
        y = tiles.to_image(m @ U)
        if self.bias:
            y += self.bias.value
        self.save(tiles, m, U)
        return y

    def backward(self, dy):
        tiles, m, U = self.recall()
        if self.bias:
            self.bias.accumulate(self.column_sums(dy.reshape(-1, dy.shape[-1])))
        dV = tiles.from_image(dy)
        self.accumulate_from(tiles.filtering, m.swapaxes(1, 2) @ dV)
        return tiles.to_positions(dV @ U.swapaxes(1, 2)) if self.needs_input_gradient else None
