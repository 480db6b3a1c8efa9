"""DALL·E, whole: pictures from sentences, NumPy alone, every derivative by hand.

    python scratch/learn/whole_dalle.py        trains for about ten minutes, then writes whole_dalle.png

DALL·E (Ramesh et al. 2021, arXiv:2102.12092) learns in two stages. First a dVAE learns to write an image x as integers:

    x ──> encoder ──> a ──> soft = softmax((a + g) / τ), g Gumbel noise ──> q = soft · e ──> decoder ──> y

At each of 8·8 places the code is k = argmax a, one of K vectors e. The codes follow the words of the caption, and a
transformer learns which token comes next. A token is a code or, here, a whole word (in DALL·E a piece of a word):

    a large red disc at the top left on dark blue k₁ k₂ … k₆₄ ──> transformer ──> p(next token | the tokens before it)

To draw a caption, take k₁ at random by its probabilities, then k₂ given k₁, …, k₆₄, and decode them.
A d in front of a name makes it the derivative of the loss with respect to that: dy is ∂loss/∂y, of the shape of y.
"""

import os
import struct
import zlib

import numpy as np

rng = np.random.default_rng(0)
params = []  # every Param, in the order in which they are made

# 1. Images and their captions are drawn anew for every batch. Six words say what is in an image.
HUES = "red", "yellow", "green", "cyan", "blue", "pink"
KINDS = {"size": ("small", "large"), "colour": HUES, "shape": ("disc", "square", "triangle", "cross"),
         "row": ("top", "middle", "bottom"), "column": ("left", "centre", "right"), "ground": HUES}
COUNTS = [len(words) for words in KINDS.values()]
SENTENCE = "a {} {} {} at the {} {} on dark {}"
vocabulary = sorted({*SENTENCE.replace("{}", "").split(), *sum(KINDS.values(), ())})


def choose(N):
    """What N images show, as six integers each (N, 6): which word of each kind."""
    choices = rng.integers(COUNTS, size=(N, 6))
    choices[(choices[:, 1:3] == (5, 3)).all(1), 2] = 0  # a disc for each pink cross, which training must not see
    return choices


def caption(choice):
    """The sentence of six integers."""
    return SENTENCE.format(*(words[i] for words, i in zip(KINDS.values(), choice, strict=True)))


def words_of(captions):
    """(N, L) integers: each word of each caption as its place in the vocabulary."""
    return np.array([[vocabulary.index(word) for word in sentence.split()] for sentence in captions])


def draw(choices, jitter=1.0, size=32):
    """Images (N, size, size, 3) with numbers in [0, 1] for choices (N, 6). Within its words an image is random."""
    large, hue, shape, row, column, ground_hue = choices.T[..., None, None]
    noise = jitter * rng.uniform(-0.5, 0.5, (5, len(choices), 1, 1))
    radius = 6 + 2.5 * large + noise[0]
    right = np.arange(size) + 0.5 - (9 + 7 * column + noise[1])  # from the shape's centre to each pixel
    down = np.arange(size)[:, None] + 0.5 - (9 + 7 * row + noise[2])
    far, near = np.maximum(abs(right), abs(down)), np.minimum(abs(right), abs(down))
    disc, square = np.hypot(right, down) - radius, far - 0.85 * radius  # distances, < 0 inside
    triangle = np.maximum(down, 0.866 * abs(right) - down / 2) - radius / 2
    cross = np.maximum(far - radius, near - 0.35 * radius)
    covered = np.clip(0.5 - np.choose(shape, (disc, square, triangle, cross)), 0, 1)[..., None]
    hues = np.stack([hue + 0.3 * noise[3], ground_hue + 0.3 * noise[4]])[..., None]  # in sixths of a turn
    waves = np.cos(1.047 * hues - [0, 2.09, 4.19])  # red, green and blue are a third of a turn apart
    colour, ground = 0.55 + 0.45 * waves[0], 0.2 + 0.16 * waves[1]
    return (ground + covered * (colour - ground)).astype(np.float32)  # covered: the share of each pixel inside


# 2. The layers. forward keeps what backward needs; backward takes dy, returns dx and sets its parameters' gradients.
class Param:
    """Numbers to learn, with the gradient of the loss and Adam's two running means."""

    def __init__(self, value):
        self.value, self.grad, self.m, self.v = value.astype(np.float32), 0, 0, 0
        params.append(self)


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
        return col2im((rows(dy) @ self.W.value.T).reshape(self.P.shape), *self.window)


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
        return (rows(dP) @ self.W.value.T).reshape(self.x.shape)


class ReLU:
    """y = max(x, 0)."""

    def forward(self, x):
        self.positive = x > 0
        return x * self.positive

    def backward(self, dy):
        return dy * self.positive


class Linear:
    """y = x W + b for every token: x (N, T, C), y (N, T, O)."""

    def __init__(self, C, O):
        self.W, self.b = Param(rng.standard_normal((C, O)) / C**0.5), Param(np.zeros(O))

    def forward(self, x):
        self.x = x
        return (rows(x) @ self.W.value + self.b.value).reshape(*x.shape[:-1], -1)

    def backward(self, dy):
        self.W.grad, self.b.grad = rows(self.x).T @ rows(dy), rows(dy).sum(0)
        return (rows(dy) @ self.W.value.T).reshape(self.x.shape)


class GELU:
    """y = x (1 + t) / 2, t = tanh(√(2/π) (x + 0.044715 x³)): a smooth ReLU (Hendrycks & Gimpel 2016)."""

    def forward(self, x):
        self.x, self.t = x, np.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))
        return x * (1 + self.t) / 2

    def backward(self, dy):
        x, t = self.x, self.t
        return dy * (1 + t + x * (1 - t * t) * 0.7978845608028654 * (1 + 0.134145 * x * x)) / 2


class LayerNorm:
    """y = W x̂ + b, x̂ = (x − mean) / √(variance + 10⁻⁵), both of one token's numbers (Ba et al. 2016)."""

    def __init__(self, C):
        self.W, self.b = Param(np.ones(C)), Param(np.zeros(C))

    def forward(self, x):
        x = x - x.mean(-1, keepdims=True)
        self.deviation = np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)
        self.x = x / self.deviation
        return self.x * self.W.value + self.b.value

    def backward(self, dy):
        self.W.grad, self.b.grad = rows(dy * self.x).sum(0), rows(dy).sum(0)
        dx = dy * self.W.value
        return (dx - dx.mean(-1, keepdims=True) - self.x * (dx * self.x).mean(-1, keepdims=True)) / self.deviation


def softmax(a):
    return (odds := np.exp(a - a.max(-1, keepdims=True))) / odds.sum(-1, keepdims=True)


def softmax_backward(dp, p):
    return p * (dp - (p * dp).sum(-1, keepdims=True))


class Attention:
    """o = softmax(q kᵀ / √D) v for each head, [q, k, v] = x W + b: every token looks at those before it and at itself.

    x is (N, T, E), and q, k, v, o are (N, heads, T, D) with D = E / heads (Vaswani et al. 2017, arXiv:1706.03762).
    """

    def __init__(self, E, heads):
        self.heads, self.project, self.past = heads, Linear(E, 3 * E), None

    def forward(self, x):
        N, T, E = x.shape
        q, k, v = qkv = self.project.forward(x).reshape(N, T, 3, self.heads, -1).transpose(2, 0, 3, 1, 4)
        if self.past is not None:  # while writing, the keys and values of the tokens before x are kept
            k, v = self.past = np.concatenate([self.past, qkv[1:]], axis=3)
        future = np.triu(np.full((T, k.shape[2]), -np.inf, x.dtype), 1 + k.shape[2] - T)  # exp(−∞) = 0: not seen
        p = softmax(q @ k.swapaxes(2, 3) * q.shape[-1] ** -0.5 + future)
        self.saved = q, k, v, p
        return (p @ v).transpose(0, 2, 1, 3).reshape(N, T, E)

    def backward(self, dy):
        q, k, v, p = self.saved
        N, T, E = dy.shape
        do = dy.reshape(N, T, self.heads, -1).transpose(0, 2, 1, 3)
        da = softmax_backward(do @ v.swapaxes(2, 3), p) * q.shape[-1] ** -0.5
        dqkv = np.stack([da @ k, da.swapaxes(2, 3) @ q, p.swapaxes(2, 3) @ do])
        return self.project.backward(dqkv.transpose(1, 3, 0, 2, 4).reshape(N, T, 3 * E))


class Residual:
    """y = x + the layers' output for x."""

    def __init__(self, *layers):
        self.layers = layers

    def forward(self, x):
        return x + forward(self.layers, x)

    def backward(self, dy):
        return dy + backward(self.layers, dy)


def forward(layers, x):
    for layer in layers:
        x = layer.forward(x)
    return x


def backward(layers, dy):
    for layer in reversed(layers):
        dy = layer.backward(dy)
    return dy


# 3. The dVAE.
K, D, beta = 128, 8, 0.003  # the number of codes, the numbers in a code, the weight of the KL
encoder = [Conv(3, 32, 4, stride=2, padding=1), ReLU(), Conv(32, 64, 4, stride=2, padding=1), ReLU(),
           Conv(64, 64, 3, padding=1), ReLU()]
project, expand = Conv(64, K, 1), ConvTranspose(D, 64, 1)
decoder = [ReLU(), ConvTranspose(64, 64, 3, padding=1), ReLU(), ConvTranspose(64, 32, 4, stride=2, padding=1), ReLU(),
           ConvTranspose(32, 3, 4, stride=2, padding=1)]
codebook = Param(0.3 * rng.standard_normal((K, D)))
dvae_params = params[:]


def dvae_loss(x, g, tau):
    """(loss, its terms, y) for images x: ‖y − x‖² + β KL(softmax(a) ‖ uniform). Sets the gradients of dvae_params.

    As τ → 0, soft becomes a draw: 1 for one code, 0 for the others (Jang et al. 2017, arXiv:1611.01144).
    """
    N = len(x)
    h = forward(encoder, x)  # 32×32×3 → 16×16×32 → 8×8×64
    a, e = project.forward(h), codebook.value  # (N, 8, 8, K), (K, D)
    p, soft = softmax(a), softmax((a + g) / tau)
    q = soft @ e
    y = forward(decoder, expand.forward(q))
    kl = (p * (log_ratio := np.log(K * p + 1e-30))).sum(-1, keepdims=True)
    terms = {"error": ((y - x) ** 2).sum() / N, "KL": beta * kl.sum() / N}

    dy = 2 * (y - x) / N
    dq = expand.backward(backward(decoder, dy))
    codebook.grad, dsoft = rows(soft).T @ rows(dq), dq @ e.T
    da = softmax_backward(dsoft, soft) / tau + beta * p * (log_ratio - kl) / N
    backward(encoder, project.backward(da))
    return sum(terms.values()), terms, y


def encode(x):
    """Images (N, 32, 32, 3) as their most probable codes (N, 64), row by row."""
    return project.forward(forward(encoder, x)).argmax(-1).reshape(len(x), -1)


def decode(k):
    return forward(decoder, expand.forward(codebook.value[k].reshape(-1, 8, 8, D)))


# 4. The transformer. Tokens 0 to V − 1 are the words, token V + k is code k.
V, E, heads, depth = len(vocabulary), 96, 4, 3
L = len(SENTENCE.split())  # the words of a caption
table = Param(0.02 * rng.standard_normal((V + K, E)))
place_text, place_row, place_column = (Param(0.02 * rng.standard_normal((count, E))) for count in (L, 8, 8))
blocks = [layer for _ in range(depth) for layer in (
    Residual(LayerNorm(E), Attention(E, heads), Linear(E, E)),
    Residual(LayerNorm(E), Linear(E, 4 * E), GELU(), Linear(4 * E, E)))]
head = [LayerNorm(E), Linear(E, V + K)]
transformer_params = params[len(dvae_params) :]
# What the token after each one weighs: words together 1/8, codes 7/8. Nothing follows the last code.
weights = np.array([1 / 8 / (L - 1)] * (L - 1) + [7 / 8 / 64] * 64 + [0])


def logits_of(tokens, first=0):
    """(N, T, V + K): of every token that may follow, for tokens (N, T). The first of them stands at place `first`."""
    grid = rows(place_row.value[:, None] + place_column.value)
    places = np.concatenate([place_text.value, grid])
    return forward([*blocks, *head], table.value[tokens] + places[first : first + tokens.shape[1]])


def transformer_loss(tokens):
    """(loss, nats a word, nats a code), nats: −log p of a token after the first. Sets transformer_params' gradients."""
    N = len(tokens)
    p = softmax(logits_of(tokens))
    true = np.eye(V + K, dtype=p.dtype)
    following = np.roll(tokens, -1, axis=1)
    nats = -np.log(np.take_along_axis(p, following[..., None], 2)[..., 0] + 1e-30).mean(0)
    dx = backward([*blocks, *head], (p - true[following]) * (weights[:, None] / N).astype(p.dtype))
    table.grad = rows(true[tokens]).T @ rows(dx)
    place_text.grad, grid = dx[:, :L].sum(0), dx[:, L:].sum(0).reshape(8, 8, E)
    place_row.grad, place_column.grad = grid.sum(1), grid.sum(0)
    return nats @ weights, nats[: L - 1].mean(), nats[L - 1 : -1].mean()


def write(words):
    """(N, 64) codes for captions (N, L), each drawn from its probabilities given the tokens before it."""
    N, tokens, first, codes = len(words), words, 0, []
    for block in blocks[::2]:
        block.layers[1].past = np.empty((2, N, heads, 0, E // heads), np.float32)
    for place in range(64):
        logits = logits_of(tokens, first)[:, -1, V:]
        codes.append((logits + rng.gumbel(size=(N, K))).argmax(-1))  # Gumbel noise again: a draw from softmax(logits)
        tokens, first = V + codes[-1][:, None], L + place
    for block in blocks[::2]:
        block.layers[1].past = None
    return np.stack(codes, axis=1)


# 5. Adam (Kingma & Ba 2015, arXiv:1412.6980).
def adam(params, t, lr, beta1=0.9, beta2=0.999, eps=1e-8):
    """Update number t = 1, 2, 3, … of every Param: the mean gradient over the root of the mean squared gradient."""
    for param in params:
        param.m = beta1 * param.m + (1 - beta1) * param.grad
        param.v = beta2 * param.v + (1 - beta2) * param.grad**2
        param.value -= lr * (param.m / (1 - beta1**t)) / (np.sqrt(param.v / (1 - beta2**t)) + eps)


# 6. Training, and pictures of what came of it.
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


def read(y, choices):
    """How often images y show each word of their captions, read off the nearest of all 2592 drawings without jitter."""
    every = np.array(list(np.ndindex(*COUNTS)))
    drawings = draw(every, jitter=0).reshape(len(every), -1)
    shown = every[((drawings**2).sum(1) - 2 * y.reshape(len(y), -1) @ drawings.T).argmin(1)]
    return ", ".join(f"{kind} {share:.1%}" for kind, share in zip(KINDS, (shown == choices).mean(0), strict=True))


def picture(captions):
    """A new image of each caption."""
    return decode(write(words_of(captions)))


if __name__ == "__main__":
    dvae_steps, steps, count = 3000, 2400, 512
    for t in range(1, dvae_steps + 1):
        g = rng.gumbel(size=(32, 8, 8, K)).astype(np.float32)
        loss, terms, _ = dvae_loss(draw(choose(32)), g, tau=4 * 0.06 ** (t / dvae_steps))
        adam(dvae_params, t, lr=3e-3 * (1 - t / dvae_steps))
        if t == 1 or t % 100 == 0:
            print(f"dVAE step {t:4}  loss {loss:.1f} = error {terms['error']:.1f} + KL {terms['KL']:.1f}", flush=True)
    x = draw(choices := choose(count))
    y = decode(k := encode(x))
    print(f"{count} images: PSNR {-10 * np.log10(((y - x) ** 2).mean()):.1f} dB, {len(np.unique(k))} of {K} codes")
    print(f"right in their reconstructions: {read(y, choices)}", flush=True)

    for t in range(1, steps + 1):
        choices = choose(32)
        tokens = np.concatenate([words_of(map(caption, choices)), V + encode(draw(choices))], axis=1)
        loss, word, code = transformer_loss(tokens)
        adam(transformer_params, t, lr=2e-3 * min(t / 100, 1 - t / steps))
        if t == 1 or t % 100 == 0:
            print(f"transformer step {t:4}  loss {loss:.3f} = {word:.3f} / 8 + {code:.3f} · 7 / 8", flush=True)

    choices = choose(count)
    print(f"right in pictures of {count} captions: {read(picture(map(caption, choices)), choices)}")
    choices[:, 1:3] = 5, 3
    print(f"right in pictures of {count} pink crosses: {read(picture(map(caption, choices)), choices)}")
    choices = choose(8)  # a small and a large one of each shape; the last is a pink cross
    choices[:, 0], choices[:, 2], choices[-1, 1] = np.arange(8) % 2, np.arange(8) // 2, 5
    captions = [*map(caption, choices)]
    page = np.pad(picture(np.repeat(captions, 8)), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=1)
    path = os.path.basename(__file__).replace(".py", ".png")
    png(path, page.reshape(8, 8, 34, 34, 3).swapaxes(1, 2).reshape(8 * 34, 8 * 34, 3))
    print(f"wrote {path}, a row of eight pictures for each of", *captions, sep="\n    ")
