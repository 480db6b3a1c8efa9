"""A convolution whose kernel is two or three times its stride, with 9 products instead of 16, or 16 instead of 36.

Cut the padded image into cells of one stride, and take each cell as one vector d of SH·SW·C numbers. The kernel covers
K = 2 or 3 cells in each direction. So on cells it is a convolution with a kernel of K and a stride of 1. In one
direction two neighbouring outputs take 2K products; filtering.py makes them from P = K + 1, with three linear maps D, G
and Aᵀ. In both directions these are P² products instead of (2K)², done as P² matrix products:

    V = D d      U = G g      y = Aᵀ (V U)
    ∂L/∂m = A ∂L/∂y      ∂L/∂g = Gᵀ (Vᵀ ∂L/∂m)      ∂L/∂d = Dᵀ (∂L/∂m Uᵀ)

A transposed convolution's forward is the computation of ∂L/∂d. Results equal those of the plain form up to
rounding, and the sums and differences that the maps take before the products are rounded, too.
"""

from scratch.accelerate.cpu.filtering import FILTERINGS, both_ways
from scratch.arrays import array_module
from scratch.layers import Conv2d, ConvTranspose2d
from scratch.layers.checks import check_input

CACHED = 2**20  # bytes of images that are transformed at a time; with fewer, the threads wait for each other


class Tiles:
    """An image cut into tiles: each holds 2 × 2 positions of the window and the P × P cells that they cover.

    N, (H, W), C and (I, J): the image's shape and its positions. Where a number of positions is odd, the last tiles
    reach beyond the image, into zeros.
    """

    def __init__(self, window, shape, positions):
        self.N, self.H, self.W, self.C = shape
        self.I, self.J = positions
        (self.PH, self.PW), (self.SH, self.SW) = window.padding, window.stride
        self.filtering = filtering_of(window)
        self.P = self.filtering.products
        self.T, self.S = -(-self.I // 2), -(-self.J // 2)
        self.rows, self.columns = 2 * self.T + self.P - 2, 2 * self.S + self.P - 2  # of cells
        # The part of the image that the cells reach. A strided convolution may not reach the last rows and columns.
        self.h = min(self.H, self.rows * self.SH - self.PH)
        self.w = min(self.W, self.columns * self.SW - self.PW)

    def empty(self, xp, dtype, *lead):
        """Room for cells: (*lead, SH, SW, C)."""
        return xp.empty((*lead, self.SH, self.SW, self.C), dtype)

    def cells(self, padded):
        """The padded images (N, rows·SH, columns·SW, C) as cells (N, rows, columns, SH, SW, C), without a copy."""
        cut = padded.reshape(len(padded), self.rows, self.SH, self.columns, self.SW, self.C)
        return cut.transpose(0, 1, 3, 2, 4, 5)

    def blocks(self, itemsize):
        """Slices of the batch, each of images that fit the cache together."""
        bytes_an_image = self.rows * self.SH * self.columns * self.SW * self.C * itemsize
        count = max(1, CACHED // bytes_an_image)
        return [slice(start, min(start + count, self.N)) for start in range(0, self.N, count)]

    def from_image(self, x):
        """V = D d along both directions: x (N, H, W, C) → (P², N·T·S, SH·SW·C)."""
        xp = array_module(x)
        V = self.empty(xp, x.dtype, self.P, self.P, self.N, self.T, self.S)
        for block in self.blocks(x.itemsize):
            n = block.stop - block.start
            padded = xp.zeros((n, self.rows * self.SH, self.columns * self.SW, self.C), x.dtype)
            padded[:, self.PH : self.PH + self.h, self.PW : self.PW + self.w] = x[block, : self.h, : self.w]
            along_rows = self.empty(xp, x.dtype, self.P, n, self.T, self.columns)
            self.filtering.image(self.cells(padded), 1, along_rows)
            self.filtering.image(along_rows, 3, V[:, :, block].swapaxes(0, 1))
        return V.reshape(self.P**2, self.N * self.T * self.S, self.SH * self.SW * self.C)

    def to_image(self, dV):
        """x = Dᵀ dV along both directions, the adjoint of `from_image`: (P², N·T·S, SH·SW·C) → (N, H, W, C)."""
        xp = array_module(dV)
        dV = dV.reshape(self.P, self.P, self.N, self.T, self.S, self.SH, self.SW, self.C)
        reached = (self.h, self.w) == (self.H, self.W)
        x = (xp.empty if reached else xp.zeros)((self.N, self.H, self.W, self.C), dV.dtype)
        for block in self.blocks(dV.itemsize):
            n = block.stop - block.start
            along_rows = self.empty(xp, dV.dtype, self.P, n, self.T, self.columns)
            self.filtering.image_transposed(dV[:, :, block].swapaxes(0, 1), 3, along_rows)
            padded = xp.empty((n, self.rows * self.SH, self.columns * self.SW, self.C), dV.dtype)
            self.filtering.image_transposed(along_rows, 1, self.cells(padded))
            x[block, : self.h, : self.w] = padded[:, self.PH : self.PH + self.h, self.PW : self.PW + self.w]
        return x

    def from_positions(self, y):
        """A along both directions: y (N, I, J, O) → (P², N·T·S, O)."""
        N, I, J, O = y.shape
        xp = array_module(y)
        if (I, J) != (2 * self.T, 2 * self.S):
            whole = xp.zeros((N, 2 * self.T, 2 * self.S, O), y.dtype)
            whole[:, :I, :J] = y
            y = whole
        pairs = y.reshape(N, self.T, 2, self.S, 2, O).transpose(2, 4, 0, 1, 3, 5)
        m = xp.empty((self.P, self.P, N, self.T, self.S, O), y.dtype)
        return both_ways(self.filtering.outputs_transposed, pairs, m).reshape(self.P**2, N * self.T * self.S, O)

    def to_positions(self, m):
        """y = Aᵀ m along both directions: (P², N·T·S, O) → (N, I, J, O)."""
        O = m.shape[-1]
        m = m.reshape(self.P, self.P, self.N, self.T, self.S, O)
        y = array_module(m).empty((self.N, self.T, 2, self.S, 2, O), m.dtype)
        both_ways(self.filtering.outputs, m, y.transpose(2, 4, 0, 1, 3, 5))
        return y.reshape(self.N, 2 * self.T, 2 * self.S, O)[:, : self.I, : self.J]


def filtering_of(window):
    """The filtering for a kernel that is two or three strides high and wide; None for any other, or a dilated one."""
    taps = {k / s for k, s in zip(window.kernel, window.stride, strict=True)}
    return FILTERINGS.get(taps.pop()) if len(taps) == 1 and window.dilation == (1, 1) else None


def fits(layer, least_channels):
    """Is there a filtering for the layer's kernel, and does the layer have at least `least_channels` channels?

    With two taps both sides need that many. With three taps the image alone does: its patches take the plain form long.
    """
    shape, filtering = layer.weight.value.shape, filtering_of(layer.window)
    image, positions = shape[2:] if isinstance(layer, Conv2d) else (shape[3], shape[0])
    return filtering is not None and (image if filtering.taps == 3 else min(image, positions)) >= least_channels


class FewerProducts:
    """What both layers below have in common: the kernel's transform and its adjoint.

    Each layer's `cells_of` gives the kernel by the K × K cells that it covers.
    """

    def transformed_kernel(self, rows):
        """U = G g along both directions: (P², rows, the rest)."""
        filtering = filtering_of(self.window)
        g, P = self.cells_of(self.weight.value), filtering.products
        U = array_module(g).empty((P, P, *g.shape[2:]), g.dtype)
        return both_ways(filtering.kernel, g, U).reshape(P**2, rows, -1)

    def accumulate_from(self, dU):
        """Add ∂L/∂g = Gᵀ ∂L/∂U along both directions to the weights' gradient."""
        filtering = filtering_of(self.window)
        dW = array_module(dU).empty_like(self.weight.value)
        cells, P = self.cells_of(dW), filtering.products
        both_ways(filtering.kernel_transposed, dU.reshape(P, P, *cells.shape[2:]), cells)
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
        U = self.transformed_kernel(V.shape[2])
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
        self.accumulate_from(V.swapaxes(1, 2) @ dm)
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
        U = self.transformed_kernel(C)
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
        self.accumulate_from(m.swapaxes(1, 2) @ dV)
        return tiles.to_positions(dV @ U.swapaxes(1, 2)) if self.needs_input_gradient else None
