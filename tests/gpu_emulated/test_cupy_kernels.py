"""The kernels that scratch compiles with CuPy, traced and compiled by the real CuPy without a GPU, and run on the CPU.

On the stand-in a fused function is called directly. Here the real cupy.fuse makes its kernel. It must not fall back to
its other way of fusing, it must keep float32, NVRTC must accept its code, and as C++ on the CPU it must compute what
the function computes with NumPy. tests/gpu/test_fused.py compares it with the plain form.
"""

import numpy as np
import pytest

from scratch import layers
from scratch.accelerate import accelerate_on_gpu, accelerate_optimizer
from scratch.accelerate.gpu import kernels
from scratch.accelerate.gpu.forms import formulas
from scratch.arrays import to_device
from scratch.layers.activation import relu_backward
from scratch.optim import make_optimizer
from scratch.training.trainer import Trainer
from tests.gpu_emulated import stand_in, stand_in_kernels
from tests.support.cures import CURES
from tests.support.formulas import classes_with_formulas
from tests.support.models import build
from tests.support.rates import RATES
from tests.support.tiny import NETWORKS, OPTIONS, images, with_likelihoods
from tests.support.variants import VARIANTS

STEPS = [  # (model, options beside the usual ones)
    *((model, {"likelihood": likelihood}) for model, likelihood in with_likelihoods("vae", "vqvae2", "dvae")),
    *(("ae", network) for network in NETWORKS.values()), *(("vae", rate) for rate in RATES.values()),
    *VARIANTS.values(), ("dvae", {"hard": True}), ("vqvae", CURES["all"]),
]
OPTIMIZERS = [
    dict(optimizer="adam", lr=1e-3, weight_decay=0.01), dict(optimizer="adam", lr=1e-3, weight_decay=0.0),
    dict(optimizer="sgd", lr=1e-3, momentum=0.9),
]
ACTIVATIONS = (layers.LeakyReLU, layers.Sigmoid, layers.SiLU, layers.Tanh, layers.GELU, layers.Softmax)
BOUNDS = {"f": 1e-5, "d": 1e-13}


def take_a_step(model, changes, optimizer, dtype):
    options = {**OPTIONS, "codebook_init": "normal", **changes}
    network = build(model, (16, 16, 3), options, dtype=dtype, rng=np.random.default_rng(0))
    network = accelerate_on_gpu(network.to("gpu"))
    optimizer = accelerate_optimizer(make_optimizer(network.named_parameters(), optimizer))
    Trainer(network, optimizer, seed=0, device="gpu").step(images(4).astype(dtype), epoch=1, step=0)


def kind(argument):
    """What a kernel depends on: of an array its dtype and its number of axes, of anything else its type."""
    return (argument.dtype.char, argument.ndim) if isinstance(argument, np.ndarray) else type(argument)


@pytest.fixture(scope="module")
def calls():
    """{(formula or kernel, kinds of its arguments): its arguments, NumPy arrays and numbers} of everything called."""
    calls = {}

    def listen(what, args):
        given = tuple(arg._host.copy() if isinstance(arg, stand_in.DeviceArray) else arg for arg in args)
        calls.setdefault((what, tuple(map(kind, given))), given)

    with stand_in.installed(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(stand_in, "kernels_heard", [listen])
        for dtype in (np.float32, np.float64):
            for model, changes in STEPS:
                take_a_step(model, changes, OPTIMIZERS[0], dtype)
            for optimizer in OPTIMIZERS[1:]:
                take_a_step("ae", {}, optimizer, dtype)
            x = to_device(np.random.default_rng(0).standard_normal((3, 5)).astype(dtype), "gpu")
            for activation in ACTIVATIONS:
                layer = accelerate_on_gpu(activation())
                layer.backward(layer.forward(x))
    return calls


@pytest.fixture(scope="module")
def cuda():
    """tests/gpu_emulated/cuda.py, if CuPy and its NVRTC can be loaded and CuPy's private parts are as it expects."""
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)
    nvrtc = pytest.importorskip("cupy_backends.cuda.libs.nvrtc", reason="CuPy has no NVRTC here")
    try:
        nvrtc.getVersion()
    except Exception as error:
        pytest.skip(f"NVRTC, CUDA's compiler, cannot be loaded: {error}")
    try:
        from tests.gpu_emulated import cuda

        x = cuda.placeholder("float32", 1)
        cuda.source(cuda.trace(relu_backward, [x, x]), [x, x])
    except (AttributeError, ImportError, TypeError) as error:
        pytest.skip(f"CuPy {cupy.__version__} has other private parts than 14.2, for which cuda.py is made: {error}")
    return cuda


def fused_calls(calls):
    """(formula, arguments) of the fused formulas; the others are kernels written in CUDA's language."""
    return [(what, args) for (what, _), args in calls.items() if not isinstance(what, stand_in.ElementwiseKernel)]


def test_every_fused_function_was_called(calls):
    known = {formula for kind in classes_with_formulas() for formula in formulas(kind).values()}
    assert known == {formula for formula, _ in fused_calls(calls)}
    assert known


def test_a_formula_takes_all_that_changes_as_an_argument(calls):
    """A variable from the surrounding code would become a constant of the kernel, which is made once."""
    for formula, _ in fused_calls(calls):
        assert formula.__closure__ is None and formula.__defaults__ is None, formula.__qualname__


def by_numpy(formula, args):
    """(the arguments as the formula leaves them, what it returns as a tuple)."""
    args = [arg.copy() if isinstance(arg, np.ndarray) else arg for arg in args]
    with np.errstate(all="ignore"):
        results = formula(*args)
    return args, results if isinstance(results, tuple) else () if results is None else (results,)


def test_cupy_fuses_every_formula_in_its_dtype_and_nvrtc_compiles_it(calls, cuda):
    for formula, args in fused_calls(calls):
        given = [cuda.placeholder(arg.dtype, arg.ndim) if isinstance(arg, np.ndarray) else arg for arg in args]
        kernel = cuda.trace(formula, given)
        assert [param.dtype for param in kernel.out_params] == [result.dtype for result in by_numpy(formula, args)[1]]
        assert "float16" not in kernel.operation, f"{formula.__qualname__} computes with two numbers: see below"
        if args[0].dtype != np.float64:  # one of the two will do
            assert cuda.compile_to_cubin(cuda.source(kernel, given)), formula.__qualname__


def test_what_cupy_made_of_a_formula_computes_what_the_formula_does(calls, cuda):
    """The kernel's operations, run on the CPU as C++: its results, and the arguments that it changes in place."""
    for formula, args in fused_calls(calls):
        given = [cuda.placeholder(arg.dtype, arg.ndim) if isinstance(arg, np.ndarray) else arg for arg in args]
        kernel = cuda.trace(formula, given)
        shape = np.broadcast_shapes(*(arg.shape for arg in args if isinstance(arg, np.ndarray)))
        ours = [np.broadcast_to(arg, shape).copy() if isinstance(arg, np.ndarray) else arg for arg in args]
        expected, results = by_numpy(formula, args)
        outputs = [np.empty(shape, param.dtype) for param in kernel.out_params]
        params = [f"{param.dtype.name} {param.name}" for param in (*kernel.in_params, *kernel.out_params)]
        preamble = "\n".join(line for line in kernel.preamble.splitlines() if not line.startswith("#include"))
        stand_in_kernels.run(params, kernel.operation, [arg for arg in (*ours, *outputs) if arg is not None], preamble)
        for got, wanted in zip([*ours, *outputs], [*expected, *results], strict=True):
            if isinstance(wanted, np.ndarray | np.generic):
                scale = np.abs(wanted).max()
                bound = BOUNDS[wanted.dtype.char] if wanted.dtype.kind == "f" else 0
                np.testing.assert_allclose(got, np.broadcast_to(wanted, shape), rtol=bound, atol=bound * scale,
                                           err_msg=formula.__qualname__)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("integer", kernels.INTEGERS)
@pytest.mark.parametrize("name, body, more, axes", [
    ("im2col", kernels.IM2COL, ("T pad",), (4, 6)), ("col2im", kernels.COL2IM, (), (6, 4))])
def test_nvrtc_compiles_the_windows(cuda, name, body, more, axes, integer, dtype):
    import cupy

    into, out = (cuda.placeholder(dtype, ndim) for ndim in axes)
    kernel = kernels.kernel(cupy, name, body, more, integer)
    assert cuda.compile_to_cubin(cuda.source(kernel, [into, *(0.0 for _ in more), *(1 for _ in kernels.SIZES), out]))


# --- the check itself -------------------------------------------------------------------------------------------------


def sum_of(x):
    return x.sum()


def of_two_numbers(x, a, b):
    return x * (a * b)


def test_what_cannot_be_fused_is_noticed(cuda):
    x = cuda.placeholder("float32", 2)
    with pytest.raises(AttributeError, match="sum"):
        cuda.trace(sum_of, [x])
    kernel = cuda.trace(of_two_numbers, [x, 2.0, 3.0])
    assert "float16" in kernel.operation, "CuPy multiplies two numbers in the smallest type of float that there is"
