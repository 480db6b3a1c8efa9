"""A CUDA kernel's body on the CPU: an elementwise kernel is C++, which any C++ compiler can compile.

    run(["raw T x", "int32 C", "T y"], "y = 2 * x[i * C]", [x, 3, y])      # y is written, one number after the other
"""

import atexit
import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

C_TYPES = {"bool": "bool", "float32": "float", "float64": "double", "int32": "int", "int64": "long long"}
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
OPTIONS = ["-std=c++14", "-O1", "-ffp-contract=off", "-fPIC"]  # C++17 would make of <algorithm> twice as much to read


def run(params, operation, args, preamble=""):
    """Run a kernel's body once for each number of its arrays that are not `raw`. All arrays are contiguous.

    params declares the arguments as in CuPy: the body indexes `raw` arrays itself; of the others it reads or writes the
    number at the present index. T is the dtype of the last array.
    """
    arrays = [value for value in args if isinstance(value, np.ndarray)]
    declared, values, sizes = [], [], set()
    for param, value in zip(params, args, strict=True):
        *words, kind, name = param.split()
        dtype = np.dtype(arrays[-1].dtype if kind == "T" else kind)
        if not isinstance(value, np.ndarray):
            declared.append(("number", C_TYPES[dtype.name], name))
            values.append(np.ctypeslib.as_ctypes_type(dtype)(value))
            continue
        assert value.dtype == dtype and value.flags.c_contiguous, param
        declared.append(("raw" if "raw" in words else "each", C_TYPES[dtype.name], name))
        values.append(value.ctypes.data_as(ctypes.c_void_p))
        sizes |= set() if "raw" in words else {value.size}
    (size,) = sizes
    library(tuple(declared), operation, preamble, C_TYPES[arrays[-1].dtype.name])(ctypes.c_longlong(size), *values)


@functools.cache
def headers():
    """A folder with the headers of every kernel. Where the compiler can, it reads them once for all kernels."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    file = Path(folder, "headers.h")
    file.write_text("#include <algorithm>\n#include <cmath>\n")
    subprocess.run([COMPILER, "-x", "c++-header", *OPTIONS, "-o", f"{file}.gch", file], check=True)
    return folder


@functools.cache
def library(declared, operation, preamble, T):
    """The compiled loop."""
    if COMPILER is None:
        pytest.skip("no C++ compiler (c++, g++, clang++) is here to run a kernel's body on the CPU")
    spelled = {"number": "{kind} {name}", "raw": "const {kind} *{name}", "each": "{kind} *_{name}"}
    arguments = ", ".join(spelled[how].format(kind=kind, name=name) for how, kind, name in declared)
    turns = " ".join(f"{kind} &{name} = _{name}[i];" for how, kind, name in declared if how == "each")
    source = f"""
        #include "headers.h"
        #define __device__
        using namespace std;
        typedef {T} T;
        {preamble}
        extern "C" void run(long long size, {arguments}) {{
            for (long long i = 0; i < size; ++i) {{
                {turns}
                {operation};
            }}
        }}"""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.so")
        command = [COMPILER, "-x", "c++", *OPTIONS, "-I", headers(), "-shared", "-o", file, "-"]
        subprocess.run(command, input=source, text=True, check=True)
        return ctypes.CDLL(str(file)).run
