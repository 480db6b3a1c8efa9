"""Kernels as CUDA code, without a GPU: traced and written by the real CuPy, compiled by NVRTC, and never run.

Neither needs a driver. The three functions below, and no others, use private parts of CuPy for this.
"""

import cupy
from cupy._core import _carray, _fusion_thread_local, _kernel, _scalar, core, fusion
from cupy.cuda import compiler

ARCHITECTURE = "80"
ARRAY, INDEXER, SCALAR = 1, 2, 3  # CuPy's numbers for what an argument can be


def placeholder(dtype, ndim):
    """An array without memory: its shape and dtype can be read, its numbers cannot."""
    nowhere = cupy.cuda.MemoryPointer(cupy.cuda.UnownedMemory(256, 2**20, None, 0), 0)
    return cupy.ndarray((2,) * ndim, dtype, memptr=nowhere)


def trace(formula, arguments):
    """The kernel that cupy.fuse makes of a formula for such arguments. Raises the errors after which CuPy would try its
    other, slower way of fusing."""
    local, history = _fusion_thread_local.thread_local, fusion._FusionHistory()
    local.history, local.is_old_fusing = history, True
    try:
        kernel, _ = history.get_fusion(formula, arguments, formula.__name__)
    finally:
        local.history, local.is_old_fusing = None, False
    return kernel


def source(kernel, arguments):
    """The CUDA code of a kernel for such arguments, each contiguous or broadcast. Outputs that are not among the
    arguments are as large as the largest of them."""
    arguments = [argument for argument in arguments if argument is not None]
    dtypes = tuple(argument.dtype if isinstance(argument, cupy.ndarray) else None for argument in arguments)
    _, out, types = _kernel._decide_params_type(
        kernel.in_params, kernel.out_params, dtypes[: kernel.nin], dtypes[kernel.nin :])
    arrays = [(a, p.raw) for a, p in zip(arguments, kernel.params, strict=False) if isinstance(a, cupy.ndarray)]
    ndim = max(array.ndim for array, raw in arrays if not raw)
    arguments += [placeholder(dtype, ndim) for dtype in out[len(arguments) - kernel.nin :]]

    def info(argument, param):
        if not isinstance(argument, cupy.ndarray):
            return _kernel._ArgInfo(SCALAR, _scalar.CScalar, param.dtype or out[0], 0, True, True)
        axes = argument.ndim if param.raw else ndim
        return _kernel._ArgInfo(ARRAY, cupy.ndarray, argument.dtype, axes, axes == argument.ndim, True)

    infos = [info(argument, param) for argument, param in zip(arguments, kernel.params, strict=False)]
    infos.append(_kernel._ArgInfo(INDEXER, _carray.Indexer, None, ndim, True, True))
    return _kernel._get_elementwise_kernel_code(
        tuple(infos), types, kernel.params, kernel.operation, kernel.name, kernel.preamble)


def compile_to_cubin(code):
    """The machine code for ARCHITECTURE, as bytes."""
    headers = "#include <cupy/complex.cuh>\n#include <cupy/carray.cuh>\n#include <cupy/atomics.cuh>\n"
    options = (*core.assemble_cupy_compiler_options(()), "-ftz=true", f"-arch=sm_{ARCHITECTURE}")
    binary, _ = compiler._NVRTCProgram(headers + code, method="cubin").compile(options)
    return binary
