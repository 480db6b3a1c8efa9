"""Two neighbouring outputs of a convolution in one direction, with fewer products than the formula takes.

With two taps, y₀ = d₀g₀ + d₁g₁ and y₁ = d₁g₀ + d₂g₁ are four products. Three are enough:

    m₀ = (d₀ − d₁) g₀        m₁ = d₁ (g₀ + g₁)        m₂ = (d₂ − d₁) g₁
    y₀ = m₀ + m₁             y₁ = m₁ + m₂

With three taps, y₀ = d₀g₀ + d₁g₁ + d₂g₂ and y₁ = d₁g₀ + d₂g₁ + d₃g₂ are six, and four are enough:

    m₀ = (d₀ − d₂) g₀        m₁ = (d₁ + d₂) (g₀ + g₁ + g₂)/2        m₂ = (d₂ − d₁) (g₀ − g₁ + g₂)/2
    m₃ = (d₁ − d₃) g₂        y₀ = m₀ + m₁ + m₂                      y₁ = m₁ − m₂ − m₃

Both consist of three linear maps, D of the image, G of the kernel and Aᵀ of the products: y = Aᵀ (D d · G g). Each
class below has these maps and their transposes, which write their results to `out`. (Winograd 1980, Arithmetic
complexity of computations; for networks: Lavin & Gray 2015, arXiv:1509.09308)
"""

from scratch.arrays import array_module


def both_ways(transform, a, out):
    """A transform (k, ...) → (p, ...) along the first two axes: a (k, k, ...) → out (p, p, ...)."""
    rows = array_module(a).empty((len(out), *a.shape[1:]), a.dtype)
    transform(a, rows)
    transform(rows.swapaxes(0, 1), out.swapaxes(0, 1))
    return out


class TwoTaps:
    """All constants are 0 and ±1."""

    taps, products = 2, 3

    @staticmethod
    def image(d, axis, out):
        """out = D d: (d₀ − d₁, d₁, d₂ − d₁) of every pair of cells. Along `axis` d has 2T + 1 cells, out[k] T."""
        xp = array_module(d)
        d, out = xp.moveaxis(d, axis, 0), xp.moveaxis(out, axis + 1, 1)
        first, middle, last = d[:-1:2], d[1::2], d[2::2]
        xp.subtract(first, middle, out=out[0])
        out[1] = middle
        xp.subtract(last, middle, out=out[2])

    @staticmethod
    def image_transposed(m, axis, out):
        """out = Dᵀ m: d₀ = m₀, d₁ = m₁ − m₀ − m₂, and d₂ = m₂ plus the next pair's m₀."""
        xp = array_module(m)
        m, out = xp.moveaxis(m, axis + 1, 1), xp.moveaxis(out, axis, 0)
        out[:-1:2] = m[0]
        out[-1] = 0
        out[2::2] += m[2]
        middle = out[1::2]
        xp.subtract(m[1], m[0], out=middle)
        middle -= m[2]

    @staticmethod
    def kernel(g, out):
        """out = G g: (g₀, g₀ + g₁, g₁)."""
        out[0] = g[0]
        array_module(g).add(g[0], g[1], out=out[1])
        out[2] = g[1]

    @staticmethod
    def kernel_transposed(m, out):
        """out = Gᵀ m: (m₀ + m₁, m₁ + m₂)."""
        array_module(m).add(m[:2], m[1:], out=out)

    outputs, outputs_transposed = kernel_transposed, kernel  # here A = G


class ThreeTaps:
    """All constants are 0, ±1 and ±½."""

    taps, products = 3, 4

    @staticmethod
    def image(d, axis, out):
        """out = D d: (d₀ − d₂, d₁ + d₂, d₂ − d₁, d₁ − d₃) of every pair. Along `axis` d has 2T + 2 cells, out[k] T."""
        xp = array_module(d)
        d, out = xp.moveaxis(d, axis, 0), xp.moveaxis(out, axis + 1, 1)
        d0, d1, d2, d3 = d[:-2:2], d[1:-1:2], d[2::2], d[3::2]
        xp.subtract(d0, d2, out=out[0])
        xp.add(d1, d2, out=out[1])
        xp.subtract(d2, d1, out=out[2])
        xp.subtract(d1, d3, out=out[3])

    @staticmethod
    def image_transposed(m, axis, out):
        """out = Dᵀ m: d₀ = m₀ and d₁ = m₁ − m₂ + m₃, plus the pair before's d₂ = m₁ + m₂ − m₀ and d₃ = −m₃."""
        xp = array_module(m)
        m, out = xp.moveaxis(m, axis + 1, 1), xp.moveaxis(out, axis, 0)
        even, odd = out[::2], out[1::2]
        even[:-1] = m[0]
        even[-1] = 0
        even[1:] += m[1]
        even[1:] += m[2]
        even[1:] -= m[0]
        xp.subtract(m[1], m[2], out=odd[:-1])
        odd[:-1] += m[3]
        odd[-1] = 0
        odd[1:] -= m[3]

    @staticmethod
    def kernel(g, out):
        """out = G g: (g₀, (g₀ + g₁ + g₂)/2, (g₀ − g₁ + g₂)/2, g₂)."""
        ends, middle = (g[0] + g[2]) / 2, g[1] / 2
        out[0], out[1], out[2], out[3] = g[0], ends + middle, ends - middle, g[2]

    @staticmethod
    def kernel_transposed(m, out):
        """out = Gᵀ m: (m₀ + (m₁ + m₂)/2, (m₁ − m₂)/2, m₃ + (m₁ + m₂)/2)."""
        ends = (m[1] + m[2]) / 2
        out[0], out[1], out[2] = m[0] + ends, (m[1] - m[2]) / 2, m[3] + ends

    @staticmethod
    def outputs(m, out):
        """out = Aᵀ m: (m₀ + m₁ + m₂, m₁ − m₂ − m₃)."""
        xp = array_module(m)
        xp.add(m[0], m[1], out=out[0])
        out[0] += m[2]
        xp.subtract(m[1], m[2], out=out[1])
        out[1] -= m[3]

    @staticmethod
    def outputs_transposed(y, out):
        """out = A y: (y₀, y₀ + y₁, y₀ − y₁, −y₁)."""
        xp = array_module(y)
        out[0] = y[0]
        xp.add(y[0], y[1], out=out[1])
        xp.subtract(y[0], y[1], out=out[2])
        xp.negative(y[1], out=out[3])


FILTERINGS = {filtering.taps: filtering for filtering in (TwoTaps, ThreeTaps)}
