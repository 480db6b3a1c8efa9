"""CuPy without a GPU: an array module that behaves like CuPy, computes with NumPy, and counts what a GPU would do.

    with installed() as cupy, counting() as during:      # `import cupy` now finds the stand-in
        model.to("gpu")
    during.transfers_to_device                           # how many arrays crossed over

What CuPy refuses is refused here too, even if NumPy accepts it: a device array never becomes a NumPy array by itself,
the two do not mix, and functions and arguments that CuPy 14 lacks are missing here. `Counts` counts what CuPy allows
but a training step should not do: waiting for the device, or moving something between the device and the host.
Where CuPy's behaviour is not obvious, the comments say what its source does.
"""

import sys
import time
import weakref
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from types import ModuleType, SimpleNamespace

import numpy as np
import scipy.special

from tests.gpu_emulated import stand_in_kernels


@dataclass
class Counts:
    """The work that a GPU would have had to do."""

    launches: int = 0  # kernels that functions and operators start; views start none
    allocations: int = 0  # arrays that got memory of their own: new ones, results without `out`, copies
    bytes_allocated: int = 0
    copies: int = 0  # launches that compute nothing and only move data within the device
    waits: int = 0  # moments at which the host needs a value and stops until the device has it
    transfers_to_host: int = 0
    bytes_to_host: int = 0
    transfers_to_device: int = 0
    bytes_to_device: int = 0

    def launch(self, copy=False):
        self.launches += not fusing
        self.copies += copy and not fusing

    def allocate(self, array):
        if fusing:
            return
        memory.take(array)
        self.allocations += 1
        self.bytes_allocated += array.nbytes

    def wait(self):
        self.waits += 1

    def to_host(self, array):
        self.wait()
        self.transfers_to_host += 1
        self.bytes_to_host += array.nbytes

    def to_device(self, array):
        self.allocate(array)
        self.transfers_to_device += 1
        self.bytes_to_device += array.nbytes

    def reset(self):
        vars(self).update(asdict(Counts()))


counts = Counts()
kernels_heard = []  # functions of (formula or kernel, its arguments) that are told of each call of one
fusing = False  # True while a fused function runs: its operations are parts of one kernel, its results are registers


@contextmanager
def counting():
    """A Counts that holds, after its `with` block, what was counted within it."""
    before, during = replace(counts), Counts()
    yield during
    for name, value in asdict(counts).items():
        setattr(during, name, value - getattr(before, name))


@contextmanager
def installed():
    """Within a `with` block `import cupy` finds the stand-in, whether or not the real one is installed."""
    modules = {"cupy": cupy, "cupyx": special, "cupyx.scipy": special, "cupyx.scipy.special": special}
    real = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield cupy
    finally:
        for name, module in real.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


# --- memory -----------------------------------------------------------------------------------------------------------


class OutOfMemoryError(MemoryError):
    """As CuPy's memory pool raises it."""

    def __init__(self, size, used, limit):
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {used:,} bytes, "
                         f"limit set to: {limit:,} bytes).")


class Memory:
    """The device's memory: how much of it living arrays take. Without a limit this is not counted."""

    def __init__(self, limit=None):
        self.limit, self.used = limit, 0

    def take(self, array):
        if self.limit is None:
            return
        if self.used + array.nbytes > self.limit:
            raise OutOfMemoryError(array.nbytes, self.used, self.limit)
        self.used += array.nbytes
        owner = array
        while isinstance(owner.base, np.ndarray):  # the memory lives as long as the last view of it
            owner = owner.base
        weakref.finalize(owner, self.give_back, array.nbytes).atexit = False

    def give_back(self, size):
        self.used -= size

    def info(self):
        """(free, total), as CUDA's memGetInfo says it; the size of a small GPU where there is no limit."""
        total = self.limit or 2**33
        return total - self.used, total


memory = Memory()


@contextmanager
def limited(limit):
    """Within a `with` block the device has this number of bytes for what is allocated there."""
    global memory
    before, memory = memory, Memory(limit)
    try:
        yield memory
    finally:
        memory = before


# --- running a NumPy function on device arrays ------------------------------------------------------------------------

MOVES = {  # functions and methods that, where they do not return a view, only move data
    "append", "array", "asarray", "ascontiguousarray", "asfortranarray", "astype", "compress", "concatenate", "copy",
    "copyto", "column_stack", "dstack", "flatten", "hstack", "pad", "ravel", "repeat", "reshape", "roll", "stack",
    "take", "take_along_axis", "tile", "vstack",
}
WAITS = {  # the shape of the result depends on the data
    "argwhere", "bincount", "compress", "extract", "flatnonzero", "intersect1d", "nonzero", "setdiff1d", "trim_zeros",
    "union1d", "unique", "unique_all", "unique_counts", "unique_inverse", "unique_values",
}
SHAPED_BY_NUMBERS = {"arange", "empty", "eye", "full", "identity", "ones", "tri", "zeros"}
LAUNCHES_NOTHING = {"empty", "empty_like"}
LACKING_ARGUMENTS = {"where", "initial", "like", "device", "mean", "correction"}
ACCEPTED_ARGUMENTS = {("copyto", "where")}
KERNELS = {"argsort": 2, "sort": 2, "var": 3, "std": 4}  # of one call, where that is not one


FUSIBLE = {"where", "clip", "copy", "astype"}  # beside ufuncs


def host(value):
    """An argument as NumPy takes it: device arrays unwrapped, NumPy arrays refused, everything else as it is."""
    if isinstance(value, DeviceArray):
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, list | tuple):
        return type(value)(host(part) for part in value)
    return value


def device_arrays(values):
    """All device arrays among some arguments and within their lists."""
    found = []
    for value in values:
        if isinstance(value, DeviceArray):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += device_arrays(value)
    return found


def run(name, function, args, kwargs, writes=False):
    """function(*args, **kwargs) on device arrays, counted; with `writes` the result goes to one of the arguments."""
    if fusing and not isinstance(function, np.ufunc) and name not in FUSIBLE:
        raise NotImplementedError(f"{name} cannot be fused")
    for argument in LACKING_ARGUMENTS & kwargs.keys():
        if (name, argument) not in ACCEPTED_ARGUMENTS:
            raise TypeError(f"{name}() got an unexpected keyword argument {argument!r}")
    if name == "repeat" and any(isinstance(given, DeviceArray) for given in (*args[1:], kwargs.get("repeats"))):
        raise ValueError("cupy.ndarray cannot be specified as `repeats` argument.")
    if name in WAITS or (name == "where" and len(args) == 1):
        counts.wait()
    inputs = device_arrays((*args, *kwargs.values()))
    if name == "matmul":
        for array in args:
            if not (array.flags.c_contiguous or array.flags.f_contiguous):  # which is all that cuBLAS is given
                array.copy()
    with np.errstate(all="ignore"):  # a GPU divides by zero in silence
        result = function(*host(args), **{key: host(value) for key, value in kwargs.items()})
    several = isinstance(result, list | tuple)
    wrapped = [wrap(part, inputs) for part in (result if several else [result])]
    arrays = [array for array, _ in wrapped]
    writes = writes or kwargs.get("out") is not None or result is None
    if writes or (any(new for _, new in wrapped) and name not in LAUNCHES_NOTHING):
        for _ in range(kernels_of(name, args, kwargs)):
            counts.launch(copy=name in MOVES)
    return tuple(arrays) if several else arrays[0]


def kernels_of(name, args, kwargs):
    """The number of kernels of a call that starts at least one."""
    if name in ("concatenate", "stack"):
        return len(args[0])  # each array is copied into its part of the result
    if name == "mean":
        return 1 if host(args[0]).dtype.kind == "f" and kwargs.get("dtype") is None else 2  # the division by itself
    return KERNELS.get(name, 1)


def wrap(result, inputs):
    """(device array, whether it is new): the input itself, a view of its memory, or an allocation."""
    if result is None:
        return None, False
    for given in inputs:
        if result is given._host:
            return given, False
    result = np.asarray(result)  # a scalar of NumPy is a 0-d array here
    if any(np.may_share_memory(result, given._host) for given in inputs):
        return DeviceArray(result), False
    counts.allocate(result)
    return DeviceArray(result), True


# --- the array --------------------------------------------------------------------------------------------------------

OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "power", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or",
    "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift",
}
COMPARISONS = {
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
}
UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}
METHODS = (
    "all", "any", "argmax", "argmin", "argpartition", "argsort", "astype", "choose", "clip", "compress", "conj", "copy",
    "cumprod", "cumsum", "diagonal", "dot", "flatten", "max", "mean", "min", "nonzero", "partition", "prod", "ravel",
    "repeat", "reshape", "round", "searchsorted", "sort", "squeeze", "std", "sum", "swapaxes", "take", "trace",
    "transpose", "var", "view",
)


class DeviceArray:
    """The behaviour of cupy.ndarray around a NumPy array that only this object holds."""

    __module__ = "cupy"  # what scratch.arrays.array_module goes by
    __array_priority__ = 100
    __hash__ = None

    def __init__(self, array):
        self._host = array

    shape = property(lambda self: self.known("shape"))
    strides = property(lambda self: self.known("strides"))
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self.known("size"))
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    flags = property(lambda self: self._host.flags)
    device = property(lambda self: Device())
    T = property(lambda self: self.transpose())

    def known(self, name):
        """An attribute that an array has on the host, and a placeholder in a fused function has not."""
        if fusing:
            raise AttributeError(f"a fused function cannot ask an array for its {name}")
        return getattr(self._host, name)

    def __len__(self):
        return self.known("shape")[0]

    def __iter__(self):
        return (self[index] for index in range(len(self)))

    def __repr__(self):
        return f"<cupy.ndarray of {self.shape} {self.dtype}>"  # no values: a debugger's glance is not counted

    # what NumPy asks of a foreign array

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy "
                        "array explicitly.")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return getattr(getattr(cupy, ufunc.__name__), method)(*inputs, **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        own = getattr(cupy, function.__name__, None)
        return NotImplemented if own is None else own(*args, **kwargs)

    # to the host: each of these waits

    def get(self, stream=None, order="C", out=None, blocking=True):
        counts.to_host(self)
        if out is not None:
            out[...] = self._host
            return out
        return self._host.copy(order)

    def item(self, *index):
        return self.get().item(*index)

    def tolist(self):
        return self.get().tolist()

    def __float__(self):
        return float(self.get())

    def __int__(self):
        return int(self.get())

    def __bool__(self):
        return bool(self.get())

    def __str__(self):
        return str(self.get())

    def __format__(self, how):
        return format(self.get(), how)

    # from the host

    def set(self, array, stream=None):
        counts.transfers_to_device += 1
        counts.bytes_to_device += array.nbytes
        self._host[...] = array

    # elements

    def __getitem__(self, key):
        self.known("shape")  # a fused function cannot index
        key, arrays = self.key(key)
        if not arrays:
            return DeviceArray(self._host[key])
        if any(array.dtype == bool for array in arrays):
            counts.wait()  # for the number of True
        result = np.array(self._host[key])
        counts.launch(copy=True)
        counts.allocate(result)
        return DeviceArray(result)

    def __setitem__(self, key, value):
        key, arrays = self.key(key)
        if arrays:
            # CuPy makes an array of the value, even of a scalar, in silence.
            value = asarray(value, dtype=self.dtype) if not isinstance(value, DeviceArray) else value
            if any(array.dtype == bool for array in arrays):
                counts.wait()  # for the number of True
        elif isinstance(value, np.ndarray | list | tuple):
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        elif isinstance(value, DeviceArray) and same_elements(self._host[key], value._host):
            return  # the second half of x[key] += y
        counts.launch(copy=isinstance(value, DeviceArray))
        self._host[key] = host(value)

    def key(self, key):
        """(the key as NumPy takes it, the index arrays in it). Those of the host go to the device, as in CuPy."""
        parts = key if isinstance(key, tuple) else (key,)
        parts = [asarray(part) if isinstance(part, np.ndarray | list) else part for part in parts]
        arrays = [part for part in parts if isinstance(part, DeviceArray)]
        if not any(part is Ellipsis for part in parts):
            parts.append(Ellipsis)  # so that x[0] of a vector is a 0-d view and not a scalar
        return tuple(map(host, parts)), arrays

    def fill(self, value):
        self[...] = value

    def __deepcopy__(self, memo):
        return self.copy()

    def scatter_add(self, slices, value):
        cupy.add.at(self, slices, value)


def same_elements(a, b):
    """Whether two NumPy arrays are the same piece of memory, seen the same way."""
    return a.__array_interface__["data"] == b.__array_interface__["data"] and a.shape == b.shape and (
        a.strides == b.strides)


def add_methods():
    """Add to DeviceArray its operators, and the methods that do the same as NumPy's, on the device."""

    def method(name):
        return lambda self, *args, **kwargs: run(name, getattr(np.ndarray, name), (self, *args), kwargs)

    def forward(name):
        return lambda self, other: getattr(cupy, name)(self, other)

    def reflected(name):
        return lambda self, other: getattr(cupy, name)(other, self)

    def in_place(name):
        return lambda self, other: getattr(cupy, name)(self, other, out=self)

    def unary(name):
        return lambda self: getattr(cupy, name)(self)

    for name in METHODS:
        setattr(DeviceArray, name, method(name))
    for name, ufunc in OPERATORS.items():
        setattr(DeviceArray, f"__{name}__", forward(ufunc))
        setattr(DeviceArray, f"__r{name}__", reflected(ufunc))
        if name != "matmul":  # CuPy has no @=: Python then makes a new array
            setattr(DeviceArray, f"__i{name}__", in_place(ufunc))
    for name, ufunc in COMPARISONS.items():
        setattr(DeviceArray, f"__{name}__", forward(ufunc))
    for name, ufunc in UNARY.items():
        setattr(DeviceArray, f"__{name}__", unary(ufunc))


add_methods()


# --- the module -------------------------------------------------------------------------------------------------------

SCATTERS = {  # ufunc.at is there for these alone, and for these dtypes
    "add": "int32 int64 float16 float32 float64 uint32 uint64",
    "subtract": "int32 uint32",
    "maximum": "int32 int64 float32 float64 uint32 uint64",
    "minimum": "int32 int64 float32 float64 uint32 uint64",
    "bitwise_and": "int32 int64 uint32 uint64",
    "bitwise_or": "int32 int64 uint32 uint64",
    "bitwise_xor": "int32 int64 uint32 uint64",
}


class Ufunc:
    """A NumPy ufunc for device arrays."""

    def __init__(self, ufunc):
        self.ufunc, self.__name__ = ufunc, ufunc.__name__

    def __call__(self, *args, **kwargs):
        return run(self.__name__, self.ufunc, args, kwargs, writes=len(args) > self.ufunc.nin)

    def reduce(self, *args, **kwargs):
        return run("reduce", self.ufunc.reduce, args, kwargs)

    def accumulate(self, *args, **kwargs):
        return run("accumulate", self.ufunc.accumulate, args, kwargs)

    def outer(self, *args, **kwargs):
        return run("outer", self.ufunc.outer, args, kwargs)

    def at(self, a, indices, b=None):
        if self.__name__ not in SCATTERS:
            raise NotImplementedError(f"`{self.__name__}.at` is not supported yet")
        if a.dtype.name not in SCATTERS[self.__name__].split():
            dtypes = ", ".join(SCATTERS[self.__name__].split())
            raise TypeError(f"cupy.{self.__name__}.at only supports {dtypes} as data type")
        key, _ = a.key(indices)
        if not isinstance(b, DeviceArray):
            b = asarray(b, dtype=a.dtype)  # in CuPy too an array of its own
        counts.launch()
        self.ufunc.at(a._host, key, b._host)


ABSENT = frozenset("""
    asmatrix block bmat bytes_ einsum_path errstate frompyfunc fromregex geomspace geterr histogram_bin_edges info
    insert longdouble clongdouble float128 complex256 matrix matvec memmap nanpercentile nanquantile ndenumerate nditer
    nested_iters object_ polyder polydiv polyint recarray record seterr spacing str_ unstack vecdot vecmat void isnat
    datetime64 timedelta64 datetime_as_string datetime_data busday_count busday_offset busdaycalendar is_busday
    character flexible get_include getbufsize setbufsize geterrcall seterrcall show_runtime test
""".split())  # NumPy's names that CuPy 14 lacks
ABOUT_ARRAYS = {  # answered on the host, from shapes and dtypes alone
    "broadcast_shapes", "can_cast", "common_type", "iscomplexobj", "isrealobj", "isscalar", "issubdtype",
    "may_share_memory", "min_scalar_type", "ndim", "promote_types", "result_type", "shape", "shares_memory", "size",
}


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    """The one door to the device. A device array of the same dtype comes back itself."""
    if device_arrays([a]):
        function = np.array if copy else np.asarray
        return run("asarray", function, (a,), {"dtype": dtype, "order": order})
    array = np.array(a, dtype, order=order or "K")
    if array.dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {array.dtype}")
    if isinstance(a, np.ndarray | list | tuple):
        counts.to_device(array)
    else:
        counts.allocate(array)
        counts.launch()  # a scalar goes with the kernel that writes it
    return DeviceArray(array)


def array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
    result = asarray(obj, dtype, order, copy=copy)
    return result.reshape((1,) * max(0, ndmin - result.ndim) + result.shape)


def as_strided(x, shape=None, strides=None):
    return DeviceArray(np.lib.stride_tricks.as_strided(host(x), shape, strides))


def einsum(*operands, dtype=None, optimize=False):  # CuPy's has no `out`
    kwargs = {"optimize": optimize} if dtype is None else {"optimize": optimize, "dtype": dtype}
    return run("einsum", np.einsum, operands, kwargs)


def fuse(formula):
    """A function of elementwise operations as one kernel. CuPy calls it once, with placeholders for its arguments; here
    it runs each time, and the operations inside are not counted as kernels.

    A result is a new array in the shape to which all arguments together are broadcast, because a kernel has one index.
    """

    def call(*args):
        global fusing
        arrays = device_arrays(args)
        if not arrays or fusing:
            return formula(*args)
        for listener in kernels_heard:
            listener(formula, args)
        fusing = True
        try:
            results = formula(*args)
        finally:
            fusing = False
        counts.launch()
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        several = isinstance(results, tuple)
        written = [new_array(result, shape) for result in (results if several else [results]) if result is not None]
        return tuple(written) if several else written[0] if written else None

    return call


def new_array(result, shape):
    """A result of a kernel in memory of its own."""
    array = np.broadcast_to(result._host, shape).copy()
    counts.allocate(array)
    return DeviceArray(array)


def function(name, numpy_function):
    """A NumPy function for device arrays."""

    def call(*args, **kwargs):
        if name in SHAPED_BY_NUMBERS and device_arrays(args[:1]):
            raise TypeError("'cupy.ndarray' object cannot be interpreted as an integer")  # it has no __index__
        if name in ABOUT_ARRAYS:
            return numpy_function(*host(args), **kwargs)
        return run(name, numpy_function, args, kwargs)

    call.__name__ = name
    return call


class ElementwiseKernel:
    """A kernel written in C++, which a compiler for the CPU takes as well (stand_in_kernels.py). Its result is given.
    """

    def __init__(self, in_params, out_params, operation, name="kernel"):
        self.params, self.nin = [*in_params.split(", "), out_params], len(in_params.split(", "))
        self.operation, self.name = operation, name

    def __call__(self, *args):
        if len(args) != len(self.params):
            raise TypeError(f"Wrong number of arguments for {self.name!r}: {len(args)} for {len(self.params)}")
        counts.launch()
        for listener in kernels_heard:
            listener(self, args)
        inputs = [np.ascontiguousarray(host(a)) if isinstance(a, DeviceArray) else host(a) for a in args[:-1]]
        stand_in_kernels.run(self.params, self.operation, [*inputs, args[-1]._host])
        return args[-1]


class Functions(ModuleType):
    """A module of NumPy, or a part of it, for device arrays."""

    def __init__(self, name, source, **own):
        super().__init__(name)
        vars(self).update(own)
        self._source = source

    def __getattr__(self, name):
        if name.startswith("_") or name in ABSENT or not hasattr(self._source, name):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        found = getattr(self._source, name)
        if isinstance(found, ModuleType):
            raise AttributeError(f"the stand-in has no {self.__name__}.{name}: give it one")
        if isinstance(found, np.ufunc):
            found = Ufunc(found)
        elif callable(found) and not isinstance(found, type):  # dtypes and exceptions are CuPy's as they are NumPy's
            found = function(name, found)
        setattr(self, name, found)
        return found


class Generator:
    """cupy.random.Generator: has no choice, normal, permutation or shuffle; draws arrays on the device."""

    DRAWS = frozenset("""
        beta binomial chisquare dirichlet exponential f gamma geometric hypergeometric integers logseries poisson power
        random standard_exponential standard_gamma standard_normal uniform
    """.split())

    def __init__(self, seed):
        self._generator = np.random.default_rng(seed)
        for _ in range(2):  # zeros for its state, whose size depends on the GPU and is not counted, and its seeds
            counts.launch()

    def __getattr__(self, name):
        if name not in self.DRAWS:
            raise AttributeError(f"'Generator' object has no attribute {name!r}")
        return function(name, getattr(self._generator, name))

    def uniform(self, low=0.0, high=1.0, size=None, dtype=np.float64):
        low, high = asarray(low), asarray(high)
        if size is None:
            size = np.broadcast_shapes(low.shape, high.shape)
        return (low + (high - low) * self.random(size, dtype=dtype)).astype(dtype, copy=False)


class Device:
    """The one GPU of the stand-in."""

    compute_capability = "90"
    mem_info = property(lambda self: memory.info())

    def __init__(self, number=0):
        self.id = number

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def use(self):
        return self

    def synchronize(self):
        counts.wait()


class Event:
    """A moment in the device's queue; the stand-in has none, and takes the host's time."""

    def record(self):
        self.time = time.perf_counter()

    def synchronize(self):
        counts.wait()


CUDARuntimeError = type("CUDARuntimeError", (RuntimeError,), {})

special = Functions("cupyx.scipy.special", scipy.special)
cupy = Functions(
    "cupy", np,
    __version__="14 stand-in",
    ndarray=DeviceArray,
    array=array,
    asarray=asarray,
    einsum=einsum,
    fuse=fuse,
    ElementwiseKernel=ElementwiseKernel,
    get_default_memory_pool=lambda: SimpleNamespace(
        total_bytes=lambda: memory.used, free_all_blocks=lambda: None),
    asnumpy=lambda a: a.get() if isinstance(a, DeviceArray) else np.asarray(a),
    get_array_module=lambda *arrays: cupy if any(isinstance(a, DeviceArray) for a in arrays) else np,
    lib=SimpleNamespace(stride_tricks=Functions(
        "cupy.lib.stride_tricks", SimpleNamespace(sliding_window_view=np.lib.stride_tricks.sliding_window_view),
        as_strided=as_strided)),
    random=SimpleNamespace(default_rng=lambda seed=None: Generator(seed), Generator=Generator),
    cuda=SimpleNamespace(
        Device=Device,
        Event=Event,
        get_elapsed_time=lambda start, end: 1e3 * (end.time - start.time),
        get_current_stream=Device,
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        runtime=SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            driverGetVersion=lambda: 13020,
            getDeviceCount=lambda: 1,
            getDeviceProperties=lambda number: {"name": b"stand-in", "major": 9, "minor": 0},
            memGetInfo=lambda: memory.info(),
            runtimeGetVersion=lambda: 13020)),
)
