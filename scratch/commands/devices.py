"""The command `devices`: the devices that can compute, and the line that installs what is missing."""

import os

import numpy as np
from threadpoolctl import threadpool_info

from scratch.arrays import GPU_PACKAGE
from scratch.commands.cli import say, say_json
from scratch.commands.shortages import in_short, missing_library, readable


class Obstacle(Exception):
    """Why no GPU can be used: `state` in a few words, and `advice`, a sentence that says what to do."""

    def __init__(self, state, advice):
        super().__init__(advice)
        self.state, self.advice = state, advice


def survey():
    """What was found: {"numpy", "cupy" (None where CuPy is not installed), "gpus", "state", "advice"}.

    The state is "ready" where a product of matrices succeeds on every GPU. Otherwise it names the obstacle.
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
    """NumPy's version, and what threadpoolctl knows of each BLAS that NumPy has loaded."""
    blas = [
        {"library": pool["internal_api"], "version": pool["version"], "kernels": pool.get("architecture"),
         "threads": pool["num_threads"]}
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]
    return {"version": np.__version__, "blas": blas}


def cuda(version):
    """A version of CUDA as text, "13.2" for 13020; None for 0, which stands for no CUDA."""
    return f"{version // 1000}.{version % 1000 // 10}" if version else None


def import_cupy():
    """CuPy. Raises Obstacle where it is not installed or cannot be imported."""
    try:
        import cupy
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            raise Obstacle("no CuPy", f"a GPU needs CuPy, which is not installed: {GPU_PACKAGE}") from None
        reason = in_short(error.__cause__ or error)  # CuPy's own message begins with a line of ornament
        raise Obstacle("broken CuPy", f"CuPy cannot be imported ({reason}): {GPU_PACKAGE} installs it anew") from None
    return cupy


def count_gpus(cupy, runtime, driver):
    """The number of GPUs, at least one. Raises Obstacle where there is none; the reason is in CUDA's answer."""
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        if not driver:
            raise Obstacle("no driver", "CuPy finds no NVIDIA driver: install one for this machine's GPU, or use "
                                        "--device cpu") from None
        if "InsufficientDriver" in str(error):
            older = ", or pip install 'cupy-cuda12x[ctk]'" if driver // 1000 == 12 else ""
            raise Obstacle("old driver", f"the driver is for CUDA {cuda(driver)}, CuPy for CUDA {cuda(runtime)}: "
                                         f"update the driver{older}") from None
        if "NoDevice" not in str(error):
            raise Obstacle("no GPU", f"CuPy and a driver are installed; CUDA finds no usable GPU: "
                                     f"{in_short(error)}") from None
        count = 0
    if not count:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        which = "" if hidden is None else f" (CUDA_VISIBLE_DEVICES is {hidden!r})"
        raise Obstacle("no GPU", f"CuPy and a driver are installed; CUDA finds no NVIDIA GPU{which}: use --device cpu")
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
    """A product of two small matrices. It needs a kernel that is compiled, and cuBLAS, which CuPy loads only now."""
    try:
        with cupy.cuda.Device(number):
            ones = cupy.ones((2, 2), np.float32)
            (ones @ ones).get()
    except (ImportError, RuntimeError, MemoryError) as error:
        if library := missing_library(error):
            raise Obstacle("no library", f"gpu:{number} is found, and CUDA's {library} cannot be loaded: "
                                         f"{GPU_PACKAGE} brings it along") from None
        raise Obstacle("not usable", f"gpu:{number} is found, and cannot compute: {in_short(error)}") from None


def lines(found):
    """The survey as lines of text."""
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
    """List the devices that can compute, and what is missing for a GPU."""
    found = survey()
    if arguments.json:
        say_json(found, indent=2)
        return 0
    for line in lines(found):
        say(line)
    return 0
