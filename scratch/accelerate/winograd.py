"""A convolution whose kernel is twice its stride, with 9 multiplications where its formula has 16.

Cut the padded image into cells of one stride. Such a kernel covers two cells in each direction, so that between cells,
each taken as one vector d of SH·SW·C numbers, it is a convolution with a kernel of 2 and a stride of 1. In one
direction two neighbouring outputs take four products, y₀ = d₀g₀ + d₁g₁ and y₁ = d₁g₀ + d₂g₁. Three are enough:

    m₀ = (d₀ − d₁) g₀        m₁ = d₁ (g₀ + g₁)        m₂ = (d₂ − d₁) g₁
    y₀ = m₀ + m₁             y₁ = m₁ + m₂

In both directions that is 9 for 16, and nine matrix products for one. Written with D for the differences of d and S for
the sums of g, each applied along both directions (Sᵀ is then what makes y of m):

    V = D d      U = S g      y = Sᵀ (V U)
    ∂L/∂m = S ∂L/∂y      ∂L/∂g = Sᵀ (Vᵀ ∂L/∂m)      ∂L/∂d = Dᵀ (∂L/∂m Uᵀ)

A transposed convolution goes forward as ∂L/∂d does. All constants are 0 and ±1, so the result is equal to rounding.
(Winograd 1980, Arithmetic complexity of computations; for networks: Lavin & Gray 2015, arXiv:1509.09308)
"""

from scratch.arrays import array_module, column_sums
from scratch.layers import Conv2d, ConvTranspose2d
from scratch.layers.linear import check_input

CACHED = 2**20  # bytes of images whose differences are taken at a time: with fewer the threads wait for each other


def differences(d, axis, out):
    """out = D d: (d₀ − d₁, d₁, d₂ − d₁) of every pair of cells. Along `axis` d has 2T + 1 cells, out[k] T."""
    xp = array_module(d)
    d, out = xp.moveaxis(d, axis, 0), xp.moveaxis(out, axis + 1, 1)
    first, middle, last = d[:-1:2], d[1::2], d[2::2]
    xp.subtract(first, middle, out=out[0])
    out[1] = middle
    xp.subtract(last, middle, out=out[2])


def differences_transposed(m, axis, out):
    """out = Dᵀ m, the adjoint of `differences`: d₀ = m₀, d₁ = m₁ − m₀ − m₂, and d₂ = m₂ plus the next pair's m₀."""
    xp = array_module(m)
    m, out = xp.moveaxis(m, axis + 1, 1), xp.moveaxis(out, axis, 0)
    out[:-1:2] = m[0]
    out[-1] = 0
    out[2::2] += m[2]
    middle = out[1::2]
    xp.subtract(m[1], m[0], out=middle)
    middle -= m[2]


def sums(g, out):
    """out = S g: (g₀, g₀ + g₁, g₁); g (2, ...), out (3, ...)."""
    out[0] = g[0]
    array_module(g).add(g[0], g[1], out=out[1])
    out[2] = g[1]


def sums_transposed(m, out):
    """out = Sᵀ m, the adjoint of `sums`: (m₀ + m₁, m₁ + m₂); m (3, ...), out (2, ...)."""
    array_module(m).add(m[:2], m[1:], out=out)


def two_by_two_to_nine(g):
    """S along both directions: g (2, 2, ...) → (3, 3, ...)."""
    xp = array_module(g)
    rows = xp.empty((3, *g.shape[1:]), g.dtype)
    sums(g, rows)
    nine = xp.empty((3, 3, *g.shape[2:]), g.dtype)
    sums(rows.swapaxes(0, 1), nine.swapaxes(0, 1))
    return nine


def nine_to_two_by_two(m, out):
    """Sᵀ along both directions: m (3, 3, ...) → out (2, 2, ...)."""
    rows = array_module(m).empty((2, *m.shape[1:]), m.dtype)
    sums_transposed(m, rows)
    sums_transposed(rows.swapaxes(0, 1), out.swapaxes(0, 1))


class Tiles:
    """An image cut into tiles: each holds 2 × 2 positions of the window and the 3 × 3 cells that they cover.

    N, (H, W), C and (I, J): the image's shape and its positions. Where a number of positions is odd, the last tiles
    reach beyond the image, into zeros.
    """

    def __init__(self, window, shape, positions):
        self.N, self.H, self.W, self.C = shape
        self.I, self.J = positions
        (self.PH, self.PW), (self.SH, self.SW) = window.padding, window.stride
        self.T, self.S = -(-self.I // 2), -(-self.J // 2)
        self.rows, self.columns = 2 * self.T + 1, 2 * self.S + 1  # of cells
        # What of the image the cells reach: a strided convolution may leave its last rows and columns alone.
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
        """V = D d along both directions: x (N, H, W, C) → (9, N·T·S, SH·SW·C)."""
        xp = array_module(x)
        V = self.empty(xp, x.dtype, 3, 3, self.N, self.T, self.S)
        for block in self.blocks(x.itemsize):
            n = block.stop - block.start
            padded = xp.zeros((n, self.rows * self.SH, self.columns * self.SW, self.C), x.dtype)
            padded[:, self.PH : self.PH + self.h, self.PW : self.PW + self.w] = x[block, : self.h, : self.w]
            along_rows = self.empty(xp, x.dtype, 3, n, self.T, self.columns)
            differences(self.cells(padded), 1, along_rows)
            differences(along_rows, 3, V[:, :, block].swapaxes(0, 1))
        return V.reshape(9, self.N * self.T * self.S, self.SH * self.SW * self.C)

    def to_image(self, dV):
        """x = Dᵀ dV along both directions, the adjoint of `from_image`: (9, N·T·S, SH·SW·C) → (N, H, W, C)."""
        xp = array_module(dV)
        dV = dV.reshape(3, 3, self.N, self.T, self.S, self.SH, self.SW, self.C)
        reached = (self.h, self.w) == (self.H, self.W)
        x = (xp.empty if reached else xp.zeros)((self.N, self.H, self.W, self.C), dV.dtype)
        for block in self.blocks(dV.itemsize):
            n = block.stop - block.start
            along_rows = self.empty(xp, dV.dtype, 3, n, self.T, self.columns)
            differences_transposed(dV[:, :, block].swapaxes(0, 1), 3, along_rows)
            padded = xp.empty((n, self.rows * self.SH, self.columns * self.SW, self.C), dV.dtype)
            differences_transposed(along_rows, 1, self.cells(padded))
            x[block, : self.h, : self.w] = padded[:, self.PH : self.PH + self.h, self.PW : self.PW + self.w]
        return x

    def from_positions(self, y):
        """S along both directions: y (N, I, J, O) → (9, N·T·S, O)."""
        N, I, J, O = y.shape
        if (I, J) != (2 * self.T, 2 * self.S):
            whole = array_module(y).zeros((N, 2 * self.T, 2 * self.S, O), y.dtype)
            whole[:, :I, :J] = y
            y = whole
        pairs = y.reshape(N, self.T, 2, self.S, 2, O).transpose(2, 4, 0, 1, 3, 5)
        return two_by_two_to_nine(pairs).reshape(9, N * self.T * self.S, O)

    def to_positions(self, m):
        """y = Sᵀ m along both directions: (9, N·T·S, O) → (N, I, J, O)."""
        O = m.shape[-1]
        m = m.reshape(3, 3, self.N, self.T, self.S, O)
        y = array_module(m).empty((self.N, self.T, 2, self.S, 2, O), m.dtype)
        nine_to_two_by_two(m, y.transpose(2, 4, 0, 1, 3, 5))
        return y.reshape(self.N, 2 * self.T, 2 * self.S, O)[:, : self.I, : self.J]


def fits(layer, least_channels):
    """Is the layer's kernel twice its stride and not dilated, and has it so many channels on both sides?"""
    window, shape = layer.window, layer.weight.value.shape
    channels = shape[2:] if isinstance(layer, Conv2d) else (shape[0], shape[3])
    twice = window.kernel == tuple(2 * s for s in window.stride) and window.dilation == (1, 1)
    return twice and min(channels) >= least_channels


class NineProducts:
    """What both layers below have in common: the kernel's transform and its adjoint.

    Each says in `cells_of` how its kernel lies on the 2 × 2 cells that it covers.
    """

    def transformed_kernel(self, rows):
        """U = S g along both directions: (9, rows, the rest)."""
        return two_by_two_to_nine(self.cells_of(self.weight.value)).reshape(9, rows, -1)

    def accumulate_from_nine(self, dU):
        """Add ∂L/∂g = Sᵀ ∂L/∂U along both directions to the weights' gradient."""
        dW = array_module(dU).empty_like(self.weight.value)
        cells = self.cells_of(dW)
        nine_to_two_by_two(dU.reshape(3, 3, *cells.shape[2:]), out=cells)
        self.weight.accumulate(dW)


class WinogradConv2d(NineProducts, Conv2d):
    """Conv2d's forward and backward in the nine products of this module."""

    def cells_of(self, kernel):
        """A kernel (KH, KW, C, O) by the cells that it covers: (2, 2, SH, SW, C, O), without a copy."""
        (SH, SW), (_, _, C, O) = self.window.stride, kernel.shape
        return kernel.reshape(2, SH, 2, SW, C, O).transpose(0, 2, 1, 3, 4, 5)

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
            self.bias.accumulate(column_sums(dy.reshape(-1, dy.shape[-1])))
        dm = tiles.from_positions(dy)
        self.accumulate_from_nine(V.swapaxes(1, 2) @ dm)
        return tiles.to_image(dm @ U.swapaxes(1, 2)) if self.needs_input_gradient else None


class WinogradConvTranspose2d(NineProducts, ConvTranspose2d):
    """ConvTranspose2d's forward and backward in the nine products of this module."""

    def cells_of(self, kernel):
        """A kernel (C, KH, KW, O) by the cells that it covers: (2, 2, C, SH, SW, O), without a copy."""
        (SH, SW), (C, _, _, O) = self.window.stride, kernel.shape
        return kernel.reshape(C, 2, SH, 2, SW, O).transpose(1, 3, 0, 2, 4, 5)

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
            self.bias.accumulate(column_sums(dy.reshape(-1, dy.shape[-1])))
        dV = tiles.from_image(dy)
        self.accumulate_from_nine(m.swapaxes(1, 2) @ dV)
        return tiles.to_positions(dV @ U.swapaxes(1, 2)) if self.needs_input_gradient else None
