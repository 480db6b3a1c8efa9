"""A VQ-VAE, whole: NumPy alone, every derivative by hand.

    python scratch/learn/whole_vqvae.py        trains for less than a minute, then writes whole_vqvae.png

A VQ-VAE (van den Oord et al. 2017, arXiv:1711.00937) writes an image x as a few integers k and draws it again as y:

    x ──> encoder ──> z ──> k: which of K learned vectors e is nearest ──> q = e[k] ──> decoder ──> y

x has 32·32·3 = 3072 numbers, k has 8·8 = 64 integers from 0 to 255. The loss is the mean of ‖y − x‖² + ‖sg[z] − q‖² +
commitment · ‖z − sg[q]‖² over the N images of a batch. sg[·] (stop-gradient) is a constant for the derivatives.
A d in front of a name makes it the derivative of the loss with respect to that: dy is ∂loss/∂y, of the shape of y.
"""

import os
import struct
import zlib

import numpy as np

rng = np.random.default_rng(0)


# 1. The images are drawn anew for every batch: a disc, a square or a triangle.
def draw(N, size=32):
    """N images (N, size, size, 3) with numbers in [0, 1]."""
    radius, x, y, turn = (rng.uniform(*ends, (N, 1, 1)) for ends in ((7, 11), (12, 20), (12, 20), (0, 6.28)))
    right, down = np.arange(size) + 0.5 - x, np.arange(size)[:, None] + 0.5 - y  # from the shape's centre to each pixel
    u, v = right * np.cos(turn) + down * np.sin(turn), down * np.cos(turn) - right * np.sin(turn)
    disc, square = np.hypot(u, v) - radius, np.maximum(abs(u), abs(v)) - 0.8 * radius  # distances, < 0 inside
    triangle = np.maximum(v, 0.866 * abs(u) - v / 2) - radius / 2
    distance = np.choose(rng.integers(3, size=(N, 1, 1)), (disc, square, triangle))
    covered = np.clip(0.5 - distance, 0, 1)[..., None]  # the share of each pixel that lies inside
    hues = rng.uniform(0, 6.28, (2, N, 1, 1, 1)) - [0, 2.09, 4.19]  # red, green and blue are a third of a turn apart
    ground, colour = 0.2 + 0.1 * np.cos(hues[0]), 0.7 + 0.3 * np.cos(hues[1])
    return (ground + covered * (colour - ground)).astype(np.float32)


# 2. The layers. forward keeps what backward needs; backward takes dy, returns dx and sets its parameters' gradients.
class Param:
    """Numbers to learn, with the gradient of the loss and Adam's two running means."""

    def __init__(self, value):
        self.value, self.grad, self.m, self.v = value.astype(np.float32), 0, 0, 0


def rows(array):
    """(..., C) as a matrix with C columns."""
    return array.reshape(-1, array.shape[-1])


def im2col(x, kernel, stride, padding):
    """Every window of kernel × kernel pixels of x (N, H, W, C), as a row: (N, I, J, kernel²·C)."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    N, H, W, C = x.shape
    I, J = (H - kernel) // stride + 1, (W - kernel) // stride + 1
    P = np.empty((N, I, J, kernel, kernel, C), x.dtype)
    for u in range(kernel):
        for v in range(kernel):
            P[:, :, :, u, v] = x[:, u : u + stride * I : stride, v : v + stride * J : stride]
    return P.reshape(N, I, J, kernel**2 * C)


def col2im(P, kernel, stride, padding):
    """The transpose of im2col: the same assignments from right to left. Windows overlap, so they add."""
    N, I, J, _ = P.shape
    P = P.reshape(N, I, J, kernel, kernel, -1)
    x = np.zeros((N, (I - 1) * stride + kernel, (J - 1) * stride + kernel, P.shape[-1]), P.dtype)
    for u in range(kernel):
        for v in range(kernel):
            x[:, u : u + stride * I : stride, v : v + stride * J : stride] += P[:, :, :, u, v]
    return x[:, padding : x.shape[1] - padding, padding : x.shape[2] - padding]


class Conv:
    """y = im2col(x) W + b: one linear layer for every window."""

    def __init__(self, C, O, kernel, stride=1, padding=0):
        self.window = kernel, stride, padding
        self.W = Param(rng.standard_normal((kernel**2 * C, O)) * (2 / (kernel**2 * C)) ** 0.5)  # ReLU halves variance
        self.b = Param(np.zeros(O))

    def forward(self, x):
        self.P = im2col(x, *self.window)
        return self.P @ self.W.value + self.b.value

    def backward(self, dy):
        self.W.grad, self.b.grad = rows(self.P).T @ rows(dy), rows(dy).sum(0)
        return col2im(dy @ self.W.value.T, *self.window)


class ConvTranspose:
    """y = col2im(x W) + b: Conv backward. So its own backward is Conv forward."""

    def __init__(self, C, O, kernel, stride=1, padding=0):
        self.window = kernel, stride, padding
        self.W = Param(rng.standard_normal((C, kernel**2 * O)) * (2 * stride**2 / (kernel**2 * C)) ** 0.5)
        self.b = Param(np.zeros(O))

    def forward(self, x):
        self.x = x
        return col2im(x @ self.W.value, *self.window) + self.b.value

    def backward(self, dy):
        dP = im2col(dy, *self.window)
        self.W.grad, self.b.grad = rows(self.x).T @ rows(dP), rows(dy).sum(0)
        return dP @ self.W.value.T


class ReLU:
    """y = max(x, 0)."""

    def forward(self, x):
        self.positive = x > 0
        return x * self.positive

    def backward(self, dy):
        return dy * self.positive


def forward(layers, x):
    for layer in layers:
        x = layer.forward(x)
    return x


def backward(layers, dy):
    for layer in reversed(layers):
        dy = layer.backward(dy)
    return dy


# 3. The model.
K, D, commitment = 256, 8, 0.25  # the number of codes, the numbers in a code, the weight of the commitment
encoder = [Conv(3, 32, 4, stride=2, padding=1), ReLU(), Conv(32, 64, 4, stride=2, padding=1), ReLU(),
           Conv(64, 64, 3, padding=1), ReLU()]
project, expand = Conv(64, D, 1), ConvTranspose(D, 64, 1)
decoder = [ReLU(), ConvTranspose(64, 64, 3, padding=1), ReLU(), ConvTranspose(64, 32, 4, stride=2, padding=1), ReLU(),
           ConvTranspose(32, 3, 4, stride=2, padding=1)]
latents = rows(project.forward(forward(encoder, draw(64))))
codebook = Param(rng.choice(latents, K, replace=False))  # codes start where latents are; elsewhere few would be nearest
layers = [layer for layer in [*encoder, project, expand, *decoder] if hasattr(layer, "W")]
params = [param for layer in layers for param in (layer.W, layer.b)] + [codebook]


def loss_and_gradients(x):
    """(loss, its terms, y, how the code is used) for images x. Sets the gradient of every Param."""
    N = len(x)
    h = forward(encoder, x)  # 32×32×3 → 16×16×32 → 8×8×64
    z, e = project.forward(h), codebook.value  # (N, 8, 8, D), (K, D)
    k = ((e * e).sum(1) - 2 * z @ e.T).argmin(-1)  # (N, 8, 8): ‖z − e‖² less ‖z‖², the same for all e
    q = e[k]
    y = forward(decoder, expand.forward(q))
    distance = ((z - q) ** 2).sum() / N
    terms = {"error": ((y - x) ** 2).sum() / N, "codebook": distance, "commitment": commitment * distance}

    dy = 2 * (y - x) / N
    dq = expand.backward(backward(decoder, dy))
    dz = dq + commitment * 2 * (z - q) / N  # straight through: argmin has no useful derivative
    codebook.grad = np.zeros_like(e)
    np.add.at(codebook.grad, k, 2 * (q - z) / N)  # a code moves to the latents that chose it
    backward(encoder, project.backward(dz))
    return sum(terms.values()), terms, y, f"{len(np.unique(k))} of {K} codes"


# 4. Adam (Kingma & Ba 2015, arXiv:1412.6980).
def adam(t, lr, beta1=0.9, beta2=0.999, eps=1e-8):
    """Update number t = 1, 2, 3, … of every Param: the mean gradient over the root of the mean squared gradient."""
    for param in params:
        param.m = beta1 * param.m + (1 - beta1) * param.grad
        param.v = beta2 * param.v + (1 - beta2) * param.grad**2
        param.value -= lr * (param.m / (1 - beta1**t)) / (np.sqrt(param.v / (1 - beta2**t)) + eps)


# 5. Training, and a picture of what came of it.
def png(path, picture):
    """Write a picture (H, W, 3) of numbers in [0, 1], three times as large: a header, compressed lines, an end."""
    pixels = np.rint(255 * picture.clip(0, 1)).astype(np.uint8).repeat(3, 0).repeat(3, 1)
    H, W, _ = pixels.shape
    lines = np.pad(pixels.reshape(H, -1), ((0, 0), (1, 0)))  # each begins with 0: no filter
    header = struct.pack(">2I5B", W, H, 8, 2, 0, 0, 0)  # 8 bits, red, green and blue
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b"")):
            file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))


if __name__ == "__main__":
    steps = 700
    for t in range(1, steps + 1):
        loss, terms, _, use = loss_and_gradients(draw(32))
        adam(t, lr=3e-3 * (1 - t / steps))
        if t == 1 or t % 50 == 0:
            shown = " + ".join(f"{name} {term:.1f}" for name, term in terms.items())
            print(f"step {t:3}  loss {loss:.1f} = {shown}  {use}")

    x = draw(256)
    _, _, y, use = loss_and_gradients(x)
    print(f"256 new images: PSNR {-10 * np.log10(((y - x) ** 2).mean()):.1f} dB, {use}")
    path = os.path.basename(__file__).replace(".py", ".png")
    png(path, np.concatenate([np.concatenate([*images[:12]], axis=1) for images in (x, y)]))
    print(f"wrote {path}: images above their reconstructions")
