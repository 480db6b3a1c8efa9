"""The command `devices`: what there is to compute on, and for what is missing the line that installs it."""

import json
import os

import numpy as np
from threadpoolctl import threadpool_info

from scratch.arrays import GPU_PACKAGE
from scratch.commands.shortages import in_short, missing_library, readable


class Obstacle(Exception):
    """Why no GPU can be used: a state of few words, and a sentence that says what to do."""

    def __init__(self, state, advice):
        super().__init__(advice)
        self.state, self.advice = state, advice


def survey():
    """What there is: {"numpy", "cupy" (None: not there), "gpus", "state", "advice"}.

    The state is "ready" where a product of matrices succeeds on every GPU, else what stands in the way.
    """
    found = {"numpy": numpy_here(), "cupy": None, "gpus": [], "state": "ready", "advice": "use it with --device gpu"}
    try:
        cupy = import_cupy()
        runtime, driver = cupy.cuda.runtime.runtimeGetVersion(), cupy.cuda.runtime.driverGetVersion()
        found["cupy"] = {"version": cupy.__version__, "runtime": cuda(runtime), "driver": cuda(driver)}
        found["gpus"] = [describe(cupy, number) for number in range(count_gpus(cupy, runtime, driver))]
        for number in range(len(found["gpus"])):
            multiply(cupy, number)
    except Obstacle as obstacle:
        found |= {"state": obstacle.state, "advice": obstacle.advice}
    return found


def numpy_here():
    """NumPy's version, and of each BLAS that it has loaded what threadpoolctl knows."""
    blas = [
        {"library": pool["internal_api"], "version": pool["version"], "kernels": pool.get("architecture"),
         "threads": pool["num_threads"]}
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]
    return {"version": np.__version__, "blas": blas}


def cuda(version):
    """13020 as "13.2"; None for 0, which is no version at all."""
    return f"{version // 1000}.{version % 1000 // 10}" if version else None


def import_cupy():
    """CuPy. Raises Obstacle where it is not there or cannot be imported."""
    try:
        import cupy
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            raise Obstacle("no CuPy", f"for a GPU there is no CuPy: {GPU_PACKAGE}") from None
        reason = in_short(error.__cause__ or error)  # CuPy's own message begins with a line of ornament
        raise Obstacle("broken CuPy", f"CuPy cannot be imported ({reason}): {GPU_PACKAGE} installs it anew") from None
    return cupy


def count_gpus(cupy, runtime, driver):
    """How many GPUs there are, at least one; what CUDA answers instead depends on what is missing."""
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        if not driver:
            raise Obstacle("no driver", "CuPy is there, but no NVIDIA driver: install one for this machine's GPU, "
                                        "or use --device cpu") from None
        if "InsufficientDriver" in str(error):
            older = ", or pip install 'cupy-cuda12x[ctk]'" if driver // 1000 == 12 else ""
            raise Obstacle("old driver", f"the driver is for CUDA {cuda(driver)}, CuPy for CUDA {cuda(runtime)}: "
                                         f"update the driver{older}") from None
        if "NoDevice" not in str(error):
            raise Obstacle("no GPU", f"CuPy and a driver are there, but no usable GPU: {in_short(error)}") from None
        count = 0
    if not count:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        which = "" if hidden is None else f" (CUDA_VISIBLE_DEVICES is {hidden!r})"
        raise Obstacle("no GPU", f"CuPy and a driver are there, but no NVIDIA GPU{which}: use --device cpu")
    return count


def describe(cupy, number):
    """A GPU's name, memory in bytes and compute capability."""
    device = cupy.cuda.Device(number)
    properties = cupy.cuda.runtime.getDeviceProperties(number)
    free, total = device.mem_info
    return {
        "device": f"gpu:{number}",
        "name": properties["name"].decode(),
        "memory": total,
        "free": free,
        "compute_capability": f"{properties['major']}.{properties['minor']}",
    }


def multiply(cupy, number):
    """A product of two small matrices: it takes a kernel that is compiled, and cuBLAS, which CuPy loads only now."""
    try:
        with cupy.cuda.Device(number):
            ones = cupy.ones((2, 2), np.float32)
            (ones @ ones).get()
    except (ImportError, RuntimeError, MemoryError) as error:
        if library := missing_library(error):
            raise Obstacle("no library", f"gpu:{number} is there, but CUDA's {library} cannot be loaded: "
                                         f"{GPU_PACKAGE} brings it along") from None
        raise Obstacle("not usable", f"gpu:{number} is there, but cannot compute: {in_short(error)}") from None


def lines(found):
    """The survey as text."""
    blas = [
        f"{pool['library']} {pool['version']} ({pool['kernels']} kernels, {pool['threads']} thread(s))"
        for pool in found["numpy"]["blas"]
    ]
    yield f"cpu    NumPy {found['numpy']['version']}, BLAS: {', '.join(blas) or 'unknown to threadpoolctl'}"
    for gpu in found["gpus"]:
        yield (f"{gpu['device']}  {gpu['name']}, {readable(gpu['memory'])} of memory ({readable(gpu['free'])} free), "
               f"compute capability {gpu['compute_capability']}")
    if found["cupy"]:
        driver = f"driver for CUDA {found['cupy']['driver']}" if found["cupy"]["driver"] else "no driver"
        yield f"CuPy   {found['cupy']['version']}, CUDA runtime {found['cupy']['runtime']}, {driver}"
    yield f"{found['state']}: {found['advice']}."


def add(subparsers):
    """The command and its options."""
    parser = subparsers.add_parser("devices", help=run.__doc__, description=run.__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(run_command=run)


def run(arguments):
    """List what there is to compute on, and what is missing."""
    found = survey()
    print(json.dumps(found, indent=2) if arguments.json else "\n".join(lines(found)))
    return 0
