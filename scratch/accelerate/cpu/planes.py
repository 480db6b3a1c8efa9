"""A convolution to few channels: the products of each pixel first, then a sum over the taps, plane by plane.

    P[n, u, v, o, h, w] = Σ_c W[u, v, c, o] x[n, h, w, c]
    y[n, i, j, o] = b[o] + Σ_{u, v} P[n, u, v, o, i + u − PH, j + v − PW]

The plain form cuts x into patches of KH·KW·C numbers for each pixel. P has KH·KW·O, which is less if O < C. A plane
holds one channel of an image, so the sums over the taps add rows of as many numbers as the image has columns. In
backward the planes of ∂L/∂y are shifted in the same way into ∂L/∂P, and ∂L/∂W and ∂L/∂x are products with it. Measured
on an x86-64 CPU with AVX-512, one thread, float32, 32 images of 32×32 pixels, a kernel of 3, from 32 to 3 channels:
2.3 ms forward and 1.7 ms backward, where winograd.py takes 2.9 and 4.4. To 6 channels it takes as long as winograd.py.
"""

from scratch.arrays import array_module
from scratch.layers import Conv2d
from scratch.layers.checks import check_input

MOST_CHANNELS = 4  # of the output (measured)
HELD = 2**19  # numbers of P at a time; a quarter took 1.15 times as long


def overlap(tap, padding, positions, size):
    """(Positions, pixels): for which i the tap lies on a pixel i + tap − padding of so many, and on which one."""
    first, stop = max(0, padding - tap), min(positions, size + padding - tap)
    return slice(first, max(first, stop)), slice(first + tap - padding, max(first, stop) + tap - padding)


def to_few_channels(layer):
    """Has a Conv2d few output channels, fewer than those of its input, several taps, and neither stride nor dilation?
    """
    KH, KW, C, O = layer.weight.value.shape
    return O <= MOST_CHANNELS and O < C and KH * KW > 1 and layer.window.stride == layer.window.dilation == (1, 1)


class ConvToFewChannels(Conv2d):
    """Conv2d with a stride of 1 in the form above."""

    plain = Conv2d

    def shifts(self, size):
        """[((u, v), positions, pixels)]: which part of y takes which part of an image of this size, tap by tap."""
        (KH, KW), (PH, PW), (I, J) = self.window.kernel, self.window.padding, self.window.positions(size)
        for u in range(KH):
            for v in range(KW):
                (i, h), (j, w) = overlap(u, PH, I, size[0]), overlap(v, PW, J, size[1])
                yield (u, v), (..., i, j), (..., h, w)

    def kernel(self):
        """W as a matrix (KH·KW·O, C)."""
        return self.weight.value.swapaxes(2, 3).reshape(-1, self.weight.value.shape[2])

    def blocks(self, shape):
        """Blocks of images (N, H, W, C): (their slice, the shape of their P)."""
        (N, H, W, _), (KH, KW, _, O) = shape, self.weight.value.shape
        count = max(1, HELD // (KH * KW * O * H * W))
        for start in range(0, N, count):
            images = slice(start, min(start + count, N))
            yield images, (images.stop - start, KH, KW, O, H, W)

    def forward(self, x):
        KH, KW, C, O = self.weight.value.shape
        check_input(self, x, ("N", "H", "W", C), self.weight.value)
        (N, H, W, _), xp, kernel = x.shape, array_module(x), self.kernel()
        y = xp.empty((N, *self.window.positions((H, W)), O), x.dtype)
        for images, shape in self.blocks(x.shape):
            P = (kernel @ x[images].reshape(-1, H * W, C).swapaxes(1, 2)).reshape(shape)
            planes = xp.zeros((len(P), O, *y.shape[1:3]), x.dtype)
            for (u, v), position, pixel in self.shifts((H, W)):
                planes[position] += P[:, u, v][pixel]
            if self.bias:
                planes += self.bias.value[:, None, None]
            y[images] = planes.transpose(0, 2, 3, 1)
        self.save(x)
        return y

    def backward(self, dy):
        (x,) = self.recall()
        (_, H, W, C), xp, kernel = x.shape, array_module(x), self.kernel()
        KH, KW, _, O = self.weight.value.shape
        if self.bias:
            self.bias.accumulate(self.column_sums(dy.reshape(-1, O)))
        dW, dx = xp.zeros_like(kernel), xp.empty_like(x) if self.needs_input_gradient else None
        for images, shape in self.blocks(x.shape):
            planes = xp.ascontiguousarray(dy[images].transpose(0, 3, 1, 2))
            dP = xp.zeros(shape, dy.dtype)
            for (u, v), position, pixel in self.shifts((H, W)):
                dP[:, u, v][pixel] = planes[position]
            dP = dP.reshape(len(dP), -1, H * W)
            dW += (dP @ x[images].reshape(-1, H * W, C)).sum(axis=0)
            if dx is not None:
                xp.matmul(dP.swapaxes(1, 2), kernel, out=dx[images].reshape(-1, H * W, C))
        self.weight.accumulate(xp.ascontiguousarray(dW.reshape(KH, KW, O, C).swapaxes(2, 3)))
        return dx
