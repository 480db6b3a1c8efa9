"""The stand-in for CuPy does what CuPy does, and counts it."""

import numpy as np
import pytest

from scratch.arrays import array_module, device_module, to_device, to_host
from tests.gpu_emulated.stand_in import Counts, DeviceArray, counting, limited
from tests.gpu_emulated.stand_in import cupy as stand_in

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def x(cupy):
    return cupy.asarray(X)


def figures(during):
    """The counts that are not zero."""
    return {name: value for name, value in vars(during).items() if value}


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("convert", [
    np.asarray, np.array, lambda x: np.zeros((2, 3)).__setitem__(slice(None), x)])
def test_a_device_array_never_becomes_a_numpy_array_by_itself(x, convert):
    with pytest.raises(TypeError, match=r"Implicit conversion to a NumPy array is not allowed. Please use `\.get\(\)`"):
        convert(x)


@pytest.mark.parametrize("mix", [
    lambda xp, x: x + X,
    lambda xp, x: X + x,
    lambda xp, x: x @ X.T,
    lambda xp, x: x.__iadd__(X),
    lambda xp, x: X.__iadd__(x),
    lambda xp, x: x > np.array(1.0),
    lambda xp, x: xp.maximum(x, X),
    lambda xp, x: np.exp(x, out=np.empty_like(X)),
    lambda xp, x: xp.stack([x, X]),
    lambda xp, x: np.stack([x, X]),
    lambda xp, x: xp.where(x > 0, x, X),
    lambda xp, x: x.sum(axis=0, out=X[0].copy()),
    lambda xp, x: xp.ascontiguousarray(X),
])
def test_numpy_arrays_do_not_mix_with_device_arrays(cupy, x, mix):
    with pytest.raises(TypeError, match=r"^Unsupported type <class 'numpy\.ndarray'>$"):
        mix(cupy, x)


def test_a_numpy_array_is_not_assigned(x):
    with pytest.raises(ValueError, match=r"^non-scalar numpy\.ndarray cannot be used for fill$"):
        x[...] = X


@pytest.mark.parametrize("tempt, error", [
    (lambda xp, x: xp.vecdot(x, x), AttributeError),
    (lambda xp, x: xp.unstack(x), AttributeError),
    (lambda xp, x: xp.fft.fft(x), AttributeError),
    (lambda xp, x: xp.random.default_rng(0).choice(3), AttributeError),
    (lambda xp, x: xp.random.default_rng(0).permutation(3), AttributeError),
    (lambda xp, x: xp.sum(x, where=x > 0), TypeError),
    (lambda xp, x: x.max(initial=0), TypeError),
    (lambda xp, x: xp.exp(x, where=x > 0), TypeError),
    (lambda xp, x: xp.einsum("ij->i", x, out=x[:, 0]), TypeError),
    (lambda xp, x: xp.lib.stride_tricks.as_strided(x, (2, 2), (4, 4), writeable=False), TypeError),
    (lambda xp, x: x.repeat(xp.arange(3), axis=1), ValueError),
    (lambda xp, x: xp.multiply.at(x, (0, 0), 2), NotImplementedError),
    (lambda xp, x: xp.add.at(xp.zeros(3, xp.int16), xp.arange(3), 1), TypeError),
    (lambda xp, x: xp.zeros(x[0, 0].astype(int)), TypeError),
    (lambda xp, x: range(x[0, 0].astype(int)), TypeError),
])
def test_what_cupy_lacks_is_lacking(cupy, x, tempt, error):
    with pytest.raises(error):
        tempt(cupy, x)


def test_no_function_of_numpy_is_offered_that_the_real_cupy_lacks():
    """This compares with the real CuPy, so it does not use the fixture that replaces it."""
    real = pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)

    class Empty:
        """The attributes that Python itself gives a class. They depend on its version."""

    for name in dir(np):
        if not name.startswith("_") and callable(getattr(np, name)) and not hasattr(real, name):
            assert not hasattr(stand_in, name), f"CuPy has no {name}: add it to ABSENT"
    for name in vars(DeviceArray).keys() - {"key", "known", *vars(Empty)}:
        assert hasattr(real.ndarray, name), f"cupy.ndarray has no {name}"
    for name in stand_in.random.Generator.DRAWS:
        assert hasattr(real.random.Generator, name)
    for part in ("Device", "memory", "runtime"):
        for name in vars(getattr(stand_in.cuda, part)).keys() - vars(Empty).keys():
            assert hasattr(getattr(real.cuda, part), name), f"CuPy has no cuda.{part}.{name}"


def test_memory_can_be_limited(cupy):
    """Memory of a deleted array can be used again, and a view keeps the memory of its array."""
    with limited(100):
        held = cupy.zeros(10, np.float64)[2:]
        with pytest.raises(cupy.cuda.memory.OutOfMemoryError, match=r"24 bytes \(allocated so far: 80 bytes, limit"):
            cupy.zeros(3)
        assert cupy.cuda.runtime.memGetInfo() == cupy.cuda.Device(0).mem_info == (20, 100)
        del held
        cupy.zeros(3) + cupy.zeros(3)
        assert cupy.cuda.runtime.memGetInfo() == (100, 100)
    cupy.zeros(1000)


def test_exhausted_memory_is_said_as_the_real_cupy_says_it():
    real = pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)
    assert str(stand_in.cuda.memory.OutOfMemoryError(5000, 3, 7)) == str(real.cuda.memory.OutOfMemoryError(5000, 3, 7))
    assert issubclass(real.cuda.memory.OutOfMemoryError, MemoryError)


# --- results ----------------------------------------------------------------------------------------------------------


def test_it_is_what_the_project_takes_for_cupy(cupy, x):
    assert array_module(x) is device_module("gpu") is device_module("gpu:0") is cupy
    assert to_device(x, "gpu") is x
    np.testing.assert_array_equal(to_host(x), X)


def test_a_reduction_is_an_array(x):
    total = x.sum()
    assert isinstance(total, DeviceArray) and total.shape == () and float(total) == X.sum()
    assert isinstance(x[0, 0], DeviceArray) and isinstance(x.max() > 3, DeviceArray)


def test_scalars_of_python_and_numpy_are_accepted_and_promote_as_in_numpy(x):
    for y, dtype in [
        (2 * x, np.float32), (x / 2.5, np.float32), (x + np.float32(1), np.float32), (np.float32(1) - x, np.float32),
        (x * np.float64(1), np.float64), (x + np.float64(1) * x.sum(), np.float64), (x + True, np.float32),
    ]:
        assert isinstance(y, DeviceArray) and y.dtype == dtype


def test_numpys_functions_are_handed_to_cupy(x):
    for y, expected in [(np.exp(x), np.exp(X)), (np.sum(x, axis=0), X.sum(0)), (np.stack([x, x]), np.stack([X, X]))]:
        assert isinstance(y, DeviceArray)
        np.testing.assert_array_equal(y.get(), expected)


def test_views_share_memory_and_fancy_indexing_copies(cupy, x):
    for view in (x[:, 1:], x.T, x.reshape(3, 2), x[0], x[1, 2], x.ravel(), x[None], cupy.broadcast_to(x, (4, 2, 3))):
        assert np.may_share_memory(view._host, x._host)
    for copy in (x[cupy.arange(2)], x[[0, 1]], x[x >= 0], x.T.reshape(-1), x.copy(), x.T.ravel(), x[cupy.asarray(0)]):
        assert not np.may_share_memory(copy._host, x._host)
    x[0][2] = 7
    assert x.tolist() == [[0, 1, 7], [3, 4, 5]]


def test_an_array_that_is_already_as_asked_comes_back_itself(cupy, x):
    assert cupy.ascontiguousarray(x) is cupy.asarray(x) is x.astype(np.float32, copy=False) is x
    assert cupy.ascontiguousarray(x.T) is not x


def test_in_place_operators_write_in_place_and_keep_the_dtype(cupy, x):
    y = x
    y += cupy.ones(3, np.float64)
    y[:, 1:] *= 2
    assert y is x and x.dtype == np.float32
    np.testing.assert_array_equal(x.get(), (X + 1) * [1, 2, 2])
    with pytest.raises(TypeError):
        cupy.arange(3).__iadd__(0.5)


def test_scattering_adds_repeated_indices_up(cupy):
    sums = cupy.zeros(3, cupy.int64)
    cupy.add.at(sums, cupy.asarray([0, 2, 0]), cupy.asarray([1, 10, 100]))
    assert sums.tolist() == [101, 0, 10]


def test_batched_products_and_strided_windows(cupy):
    a, b = np.random.default_rng(0).random((2, 4, 3, 3))
    np.testing.assert_array_equal(cupy.matmul(cupy.asarray(a), cupy.asarray(b)).get(), a @ b)
    windows = cupy.lib.stride_tricks.as_strided(cupy.arange(5), (3, 3), (8, 8))
    assert windows.tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]


def test_random_draws_are_on_the_device(cupy):
    for draw in (
        cupy.random.default_rng(3).standard_normal((2, 5), dtype=np.float32),
        cupy.random.default_rng(3).uniform(-1, 1, (2, 5), np.float32),
    ):
        assert isinstance(draw, DeviceArray) and draw.shape == (2, 5) and draw.dtype == np.float32
    first, again = (cupy.random.default_rng(3).random(4).tolist() for _ in range(2))
    assert first == again


# --- counts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("work, expected", [
    # kernels and their results
    (lambda xp, x: x + 1, dict(launches=1, allocations=1, bytes_allocated=24)),
    (lambda xp, x: xp.add(x, x, out=x), dict(launches=1)),
    (lambda xp, x: x.__iadd__(1), dict(launches=1)),
    (lambda xp, x: x.sum(), dict(launches=1, allocations=1, bytes_allocated=4)),
    (lambda xp, x: x @ x.T, dict(launches=1, allocations=1, bytes_allocated=16)),
    (lambda xp, x: x[:, :2] @ x.T[:2], dict(launches=3, copies=2, allocations=3, bytes_allocated=48)),
    (lambda xp, x: x > 0, dict(launches=1, allocations=1, bytes_allocated=6)),
    (lambda xp, x: x.mean(), dict(launches=1, allocations=1, bytes_allocated=4)),
    (lambda xp, x: x.mean(dtype=x.dtype), dict(launches=2, allocations=1, bytes_allocated=4)),
    (lambda xp, x: x.argsort(), dict(launches=2, allocations=1, bytes_allocated=48)),
    (lambda xp, x: xp.random.default_rng(0), dict(launches=2)),
    (lambda xp, x: xp.add.at(x[0], xp.zeros(1, int), x[0, :1]), dict(launches=2, allocations=1, bytes_allocated=8)),
    # new arrays
    (lambda xp, x: xp.empty(5), dict(allocations=1, bytes_allocated=40)),
    (lambda xp, x: xp.zeros_like(x), dict(launches=1, allocations=1, bytes_allocated=24)),
    (lambda xp, x: xp.asarray(1.5), dict(launches=1, allocations=1, bytes_allocated=8)),
    (lambda xp, x: xp.add.at(x[0], x[0].astype(int), 1), dict(
        launches=3, copies=1, allocations=2, bytes_allocated=28)),
    # views cost nothing
    (lambda xp, x: x.T[1:].T.reshape(2, 2, 1)[None, 0], {}),
    (lambda xp, x: xp.ascontiguousarray(x).astype(x.dtype, copy=False), {}),
    (lambda xp, x: xp.lib.stride_tricks.as_strided(x, (2, 2), (4, 4)), {}),
    # data that is only moved
    (lambda xp, x: xp.ascontiguousarray(x.T), dict(launches=1, copies=1, allocations=1, bytes_allocated=24)),
    (lambda xp, x: x.T.reshape(6), dict(launches=1, copies=1, allocations=1, bytes_allocated=24)),
    (lambda xp, x: x.astype(np.float64), dict(launches=1, copies=1, allocations=1, bytes_allocated=48)),
    (lambda xp, x: xp.stack([x, x]), dict(launches=2, copies=2, allocations=1, bytes_allocated=48)),
    (lambda xp, x: xp.concatenate([x, x, x]), dict(launches=3, copies=3, allocations=1, bytes_allocated=72)),
    (lambda xp, x: x.__setitem__((slice(None), 0), x[:, 1]), dict(launches=1, copies=1)),
    (lambda xp, x: x.__setitem__(0, 5), dict(launches=1)),
    # waits
    (lambda xp, x: float(x[0, 1]), dict(waits=1, transfers_to_host=1, bytes_to_host=4)),
    (lambda xp, x: bool(x[0, 1]), dict(waits=1, transfers_to_host=1, bytes_to_host=4)),
    (lambda xp, x: x[0, 1].item(), dict(waits=1, transfers_to_host=1, bytes_to_host=4)),
    (lambda xp, x: f"{x[0, 1]:.2f}", dict(waits=1, transfers_to_host=1, bytes_to_host=4)),
    (lambda xp, x: x.get(), dict(waits=1, transfers_to_host=1, bytes_to_host=24)),
    (lambda xp, x: x.tolist(), dict(waits=1, transfers_to_host=1, bytes_to_host=24)),
    (lambda xp, x: xp.cuda.get_current_stream().synchronize(), dict(waits=1)),
    # transfers to the device, the silent ones too
    (lambda xp, x: xp.asarray(X), dict(
        transfers_to_device=1, bytes_to_device=24, allocations=1, bytes_allocated=24)),
    (lambda xp, x: x[[1]], dict(
        transfers_to_device=1, bytes_to_device=8, launches=1, copies=1, allocations=2, bytes_allocated=20)),
])
def test_what_is_counted(cupy, x, work, expected):
    with counting() as during:
        work(cupy, x)
    assert figures(during) == expected


@pytest.mark.parametrize("work", [
    lambda xp, x: x[x > 0], lambda xp, x: x.__setitem__(x > 0, 0), lambda xp, x: x.nonzero(), lambda xp, x: xp.where(x),
    lambda xp, x: xp.unique(x), lambda xp, x: xp.bincount(x.astype(int).ravel()), lambda xp, x: 1 if x[0, 0] > 0 else 2,
])
def test_what_depends_on_the_data_waits_for_them(cupy, x, work):
    with counting() as during:
        work(cupy, x)
    assert during.waits == 1


def test_what_does_not_depend_on_the_data_does_not_wait(cupy, x):
    with counting() as during:
        cupy.where(x > 0, x, 0)
        x[cupy.arange(2)].argmax(axis=1)
        repr(x), len(x), x.shape, cupy.ndim(x)
    assert during.waits == during.transfers_to_host == 0


def test_counts_can_be_nested_and_reset(cupy, x):
    with counting() as outer:
        x + 1
        with counting() as inner:
            x + 1
    x + 1
    assert (outer.launches, inner.launches) == (2, 1)
    own = Counts(launches=3, waits=1)
    own.reset()
    assert own == Counts()
