"""Convolutions with fewer products: their maps, their tiles, and the plain form, which defines them."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratch.accelerate import accelerate
from scratch.accelerate.cpu import winograd
from scratch.accelerate.cpu.blocks import BlockwiseWindow
from scratch.accelerate.cpu.filtering import FILTERINGS, INFINITY, Filtering, both_ways
from scratch.accelerate.cpu.planes import ConvToFewChannels
from scratch.accelerate.cpu.winograd import Tiles, WinogradConv2d, WinogradConvTranspose2d, best_filtering
from scratch.layers import Conv2d, ConvTranspose2d
from scratch.layers.patches import Window
from tests.support.beside_torch import assert_all_close
from tests.support.forms import both_forms

pairs = {least: st.tuples(st.integers(least, 4), st.integers(least, 4)) for least in (0, 1)}
drawn = settings(derandomize=True, deadline=None, max_examples=100)

ALL_FILTERINGS = [filtering for several in FILTERINGS.values() for filtering in several]
each_filtering = pytest.mark.parametrize("filtering", ALL_FILTERINGS, ids=repr)


def inner(a, b):
    return float((a * b).sum())


def choose(filtering, monkeypatch):
    """Let every layer take this filtering, whatever the size of its image."""
    monkeypatch.setattr(winograd, "best_filtering", lambda taps, images, positions: filtering)


@pytest.mark.parametrize("positions", [(4, 6), (3, 5), (1, 2)])
@each_filtering
def test_the_transforms_are_each_other_s_adjoint(filtering, positions, monkeypatch):
    """⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for the transforms of image, positions and kernel, also if tiles reach beyond the image."""
    choose(filtering, monkeypatch)
    rng = np.random.default_rng(0)
    K, P = filtering.taps, filtering.products
    window = Window((2 * K, 3 * K), (2, 3), (1, 2))
    size = window.image_size(positions, (1, 2))
    tiles = Tiles(window, (3, *size, 2), positions)
    x, V = rng.standard_normal((3, *size, 2)), rng.standard_normal((P * P, 3 * tiles.T * tiles.S, 12))
    assert inner(tiles.from_image(x), V) == pytest.approx(inner(x, tiles.to_image(V)), rel=1e-12)
    y, m = rng.standard_normal((3, *positions, 5)), rng.standard_normal((P * P, 3 * tiles.T * tiles.S, 5))
    assert inner(tiles.from_positions(y), m) == pytest.approx(inner(y, tiles.to_positions(m)), rel=1e-12)
    g, U = rng.standard_normal((K, K, 7)), rng.standard_normal((P, P, 7))
    there, back = both_ways(filtering.kernel, g), both_ways(filtering.kernel.T, U)
    assert inner(there, U) == pytest.approx(inner(g, back), rel=1e-12)


@each_filtering
def test_the_maps_give_the_convolution_exactly(filtering):
    """Σᵢ Aᵢₖ Dᵢₗ Gᵢⱼ is 1 where l = k + j, else 0, in fractions: yₖ = Σⱼ d_{k+j} gⱼ."""
    D, A = (array.astype(int).astype(object) for array in (filtering.image, filtering.output))
    np.testing.assert_array_equal(D, filtering.image)
    np.testing.assert_array_equal(A, filtering.output)
    G = np.array([[Fraction(g).limit_denominator(10**6) for g in row] for row in filtering.kernel])
    np.testing.assert_array_equal(G.astype(float), filtering.kernel)
    found = [[[sum(A[:, k] * D[:, l] * G[:, j]) for j in range(filtering.taps)] for l in range(filtering.products)]
             for k in range(filtering.outputs)]
    expected = [[[int(l == k + j) for j in range(filtering.taps)] for l in range(filtering.products)]
                for k in range(filtering.outputs)]
    assert found == expected


def amplification(filtering):
    """How much larger the variance of rounding errors gets: the most for an output, an input and a tap.

    Products have errors of about their own size. With rows of D, G and A of the lengths Dᵢ, Gᵢ, Aᵢ, an output has the
    variance Σᵢ Aᵢₖ² Dᵢ² Gᵢ², of K in the plain form, and the gradients likewise.
    """
    D, G, A = filtering.image**2, filtering.kernel**2, filtering.output**2
    d, g, a = (squares.sum(axis=1) for squares in (D, G, A))
    outputs, taps = (d * g) @ A / filtering.taps, (a * d) @ G / filtering.outputs
    inputs = np.zeros(filtering.outputs)
    np.add.at(inputs, np.arange(filtering.products) % filtering.outputs, (a * g) @ D / filtering.taps)
    return max(outputs.max(), inputs.max(), taps.max())


def test_the_points_amplify_errors_little():
    """Less than points of 0, ±1, ±2, ±½ and infinity, of which the usual ones are."""
    classic = [(0, 1), (1, 1), (-1, 1), (2, 1), (-2, 1), (1, 2), (-1, 2)]
    for filtering in ALL_FILTERINGS:
        best = min(amplification(Filtering(filtering.outputs, filtering.taps, (*points, INFINITY)))
                   for points in combinations(classic, filtering.products - 1))
        assert amplification(filtering) <= best * (1 + 1e-12)


positions_of_several_tiles = st.tuples(st.integers(1, 9), st.integers(1, 9))


@drawn
@given(st.sampled_from(ALL_FILTERINGS), pairs[1], pairs[0], pairs[0], positions_of_several_tiles, st.booleans(),
       st.booleans())
def test_fewer_products_are_the_convolution(filtering, stride, padding, beyond, positions, transposed, bias):
    """Any stride, padding, numbers of positions that no tile divides, and rows that no window reaches."""
    rng = np.random.default_rng(0)
    kernel = tuple(filtering.taps * s for s in stride)
    extra = tuple(min(b, s - 1) for b, s in zip(beyond, stride, strict=True))
    try:
        size = Window(kernel, stride, padding).image_size(positions, extra)
    except ValueError:
        return
    settings = dict(bias=bias, dtype=np.float64, rng=rng)
    if transposed:
        layer = ConvTranspose2d(3, 2, kernel, stride, padding, extra, **settings)
        x = rng.standard_normal((2, *positions, 3))
    else:
        layer = Conv2d(3, 2, kernel, stride, padding, **settings)
        x = rng.standard_normal((2, *size, 3))
    with pytest.MonkeyPatch.context() as patch:
        choose(filtering, patch)
        plain, fast = both_forms(layer, x, rng)
    assert type(layer) is (WinogradConvTranspose2d if transposed else WinogradConv2d)
    assert_all_close(fast, plain, 1e-13)


@pytest.mark.parametrize("cached", [1, 3 * 9 * 4 * 8 * 8])  # bytes: an image at a time, or three of the first two
def test_a_batch_that_is_cut_into_blocks(cached, monkeypatch):
    monkeypatch.setattr(winograd, "CACHED", cached)
    rng = np.random.default_rng(0)
    for layer, x in ((Conv2d(2, 3, 4, 2, 1, dtype=np.float64, rng=rng), rng.standard_normal((7, 8, 8, 2))),
                     (ConvTranspose2d(3, 2, 4, 2, 1, dtype=np.float64, rng=rng), rng.standard_normal((7, 4, 4, 3))),
                     (Conv2d(2, 3, 3, 1, 1, dtype=np.float64, rng=rng), rng.standard_normal((7, 8, 8, 2)))):
        plain, fast = both_forms(layer, x, rng)
        assert_all_close(fast, plain, 1e-13)
    blocks = list(Tiles(Window(4, 2, 1), (7, 8, 8, 2), (4, 4)).blocks(8, 8))
    assert len(blocks) == (7 if cached == 1 else 3) and blocks[-1] == (slice(6, 7), slice(6 * 32, 7 * 32))


@pytest.mark.parametrize("kernel", [dict(kernel_size=4, stride=2), dict(kernel_size=3)])
def test_float32_stays_float32_and_close(kernel):
    """Fewer products mean more additions before them, so twice the rounding of the plain form is allowed."""
    rng = np.random.default_rng(0)
    layer = Conv2d(64, 32, padding=1, **kernel, rng=rng)
    plain, fast = both_forms(layer, rng.standard_normal((4, 16, 16, 64), dtype=np.float32), rng)
    assert_all_close(fast, plain, 2e-6)


@pytest.mark.parametrize("channels", [(16, 32), (64, 32)])
@each_filtering
def test_float32_beside_the_plain_form_in_float64(filtering, channels, monkeypatch):
    """The largest error, of the largest value: the tiles of the bound above, and those for which it would be wider."""
    choose(filtering, monkeypatch)
    rng, stride = np.random.default_rng(0), 4 - filtering.taps
    layer, exact = (Conv2d(*channels, filtering.taps * stride, stride, 1, dtype=dtype, rng=rng)
                    for dtype in (np.float32, np.float64))
    exact.load_state_dict(layer.state_dict())
    x = rng.standard_normal((4, 12 * stride, 12 * stride, channels[0]), dtype=np.float32)
    dy = rng.standard_normal((4, 12, 12, channels[1]), dtype=np.float32)
    accelerate(layer)
    results = [{"y": form.forward(x.astype(dtype)), "dx": form.backward(dy.astype(dtype)), **form.grad_dict()}
               for form, dtype in ((layer, np.float32), (exact, np.float64))]
    ours, expected = ({name: value.astype(np.float64) for name, value in result.items()} for result in results)
    assert_all_close(ours, expected, {2: 1e-6, 3: 2e-6, 4: 4e-6}[filtering.outputs])


@pytest.mark.parametrize("taps, images, positions, outputs", [
    (2, 32, (8, 8), 4), (2, 32, (4, 4), 2), (2, 128, (4, 4), 4), (2, 32, (3, 3), 3), (2, 32, (6, 5), 3),
    (2, 32, (7, 7), 4), (2, 32, (10, 10), 2), (2, 32, (14, 14), 3), (2, 1, (2, 2), 2),
    (3, 32, (8, 8), 4), (3, 16, (4, 4), 2), (3, 32, (5, 5), 3), (3, 32, (14, 14), 4)])
def test_the_tile_with_the_least_work(taps, images, positions, outputs):
    """Few beyond the image, and fewer products where there are enough rows; measured as the fastest."""
    assert repr(best_filtering(taps, images, positions)) == f"F({outputs}, {taps})"


def test_which_layer_takes_which_form():
    def form(layer, **settings):
        return type(accelerate(layer, **settings))

    assert form(Conv2d(4, 16, 4, 2, 1)) is form(Conv2d(16, 5, 3)) is WinogradConv2d
    assert form(Conv2d(16, 16, (6, 3), (2, 1))) is WinogradConv2d
    assert form(ConvTranspose2d(16, 3, (4, 2), (2, 1))) is form(ConvTranspose2d(3, 16, 3)) is WinogradConvTranspose2d
    for layer in (Conv2d(3, 16, 4, 2, 1), Conv2d(3, 16, 3), ConvTranspose2d(16, 2, 4, 2, 1),
                  Conv2d(16, 16, 3, 2, 1), Conv2d(16, 16, (4, 3), (2, 1)), Conv2d(16, 16, 1), Conv2d(16, 16, 4)):
        assert form(layer) in (Conv2d, ConvTranspose2d) and type(layer.window) is BlockwiseWindow
    assert form(Conv2d(16, 4, 3)) is ConvToFewChannels
    assert form(Conv2d(4, 4, 3)) is form(Conv2d(16, 4, 4, 2)) is WinogradConv2d
    assert form(Conv2d(16, 4, 3), least_channels=1) is WinogradConv2d
    assert form(Conv2d(16, 4, 1)) is Conv2d
    dilated = Conv2d(16, 16, 4, 2, 1, dilation=2)
    assert form(dilated) is Conv2d and type(dilated.window) is Window
    assert form(Conv2d(3, 16, 4, 2, 1), least_channels=3) is WinogradConv2d


def test_wrong_shapes_are_refused_as_the_plain_form_refuses_them():
    for layer in (Conv2d(16, 16, 4, 2, 1), ConvTranspose2d(16, 16, 4, 2, 1)):
        accelerate(layer)
        with pytest.raises(ValueError, match=r"takes an input of shape \(N, H, W, 16\)"):
            layer.forward(np.zeros((1, 8, 8, 3), np.float32))
        with pytest.raises(TypeError, match="float32 weights, got a float64"):
            layer.forward(np.zeros((1, 8, 8, 16)))
        with pytest.raises(RuntimeError, match="needs a forward"):
            layer.backward(np.zeros((1, 4, 4, 16), np.float32))
