"""One process of a measurement: `python -m torch_ref.speed.side`, which process.py starts and talks to.

It reads lines of JSON on its standard input, first what it is to measure, then one request at a time, and answers each
with a line of JSON on its standard output. Between two requests it waits and computes nothing.

scratch_engine.py is scratch's part and torch_engine.py PyTorch's. A process imports one of them: its memory is
reported, and that of scratch's holds no torch.
"""

import json
import os
import sys
import tracemalloc
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from data_utils import DataError, batches, load, to_float
from scratch.models.system import find_system
from scratch.options.errors import InputError
from torch_ref.speed.clock import milliseconds

POOL = 4  # different batches; steps go through them in epochs, each in an order of its own


def make_engine(side, threads, device, tf32):
    """What knows how this side makes a trainer, what its parts are, and how to time them on the device."""
    if side.startswith("torch"):
        from torch_ref.speed.torch_engine import TorchEngine

        return TorchEngine(side == "torch best", threads, device, tf32)
    from torch_ref.speed.scratch_engine import ScratchEngine

    return ScratchEngine(threads, device)


class Memory:
    """The memory of this process in bytes; None where the system does not tell.

    The peak is Linux's VmHWM where there is one: getrusage's figure survives exec, and a process that is smaller than
    the one that started it would be told its parent's.
    """

    def resident(self):
        return self.status("VmRSS") or self.largest()

    def peak(self):
        return self.status("VmHWM") or self.largest()

    def status(self, name):
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
        except OSError:
            return None
        kilobytes = [int(line.split()[1]) for line in lines if line.startswith(f"{name}:")]
        return 1024 * kilobytes[0] if kilobytes else None

    def largest(self):
        try:
            import resource
        except ImportError:  # not on Windows
            return None
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Side:
    """One side of the measurement. Each public method is a request; what it returns is the answer."""

    def __init__(self, side, options, threads, tf32=False):
        self.options, self.dtype = options, np.dtype(options["dtype"])
        self.engine = make_engine(side, threads, options["device"], tf32)
        self.memory_of = Memory()
        self.after_imports = self.memory_of.resident()
        self.done = 0  # steps taken

    def build(self):
        """Load the images, or make up examples, and make the trainer."""
        options, size = self.options, self.options["batch_size"]
        images = self.examples(POOL * size)
        if len(images) < size:
            raise InputError(f"{options['data']} has {len(images)} training images, too few for a batch of {size}: "
                             f"give a smaller batch_size.")
        self.images = images[: len(images) // size * size]  # whole batches only, so that all steps are alike
        self.trainer, parameters = self.engine.make_trainer(options, images.shape[1:])
        return {"parameters": parameters, "image_shape": list(images.shape[1:]),
                "workers": self.engine.workers(self.trainer)}

    def examples(self, count):
        """At most `count` stored examples."""
        options = self.options
        if made_up := find_system(options["model"]).made_up:
            return made_up(options, count, np.random.default_rng(options["seed"]))
        return load(options["data"], root=options["data_root"], limit=count, image_size=options["image_size"],
                    seed=options["seed"]).train

    def place(self, number):
        """(epoch, step in it, the examples as the model takes them) of a step; the same on all sides."""
        size, seed = self.options["batch_size"], self.options["seed"]
        epoch, step = divmod(number, len(self.images) // size)
        batch = list(batches(len(self.images), size, seed, epoch))[step]
        return epoch, step, self.trainer.inputs(self.images[batch], self.dtype)

    def steps(self, count, warm_up, seconds):
        """Milliseconds of each of `count` steps, after some that are not counted: at least `warm_up` steps, and as many
        as it takes to work for so many seconds."""
        start, skipped = perf_counter(), 0
        while skipped < warm_up or perf_counter() - start < seconds:
            self.step()
            skipped += 1
        return [self.step() for _ in range(count)]

    def step(self):
        """Milliseconds of the next step."""
        epoch, step, images = self.place(self.done)
        self.done += 1
        return self.engine.milliseconds(lambda: self.trainer.step(images, epoch, step))

    def memory(self):
        """Bytes: resident once everything is imported and nothing is built, the most there ever was, and the most that
        the library has held of the GPU's memory (None on the CPU)."""
        return {"imports": self.after_imports, "peak": self.memory_of.peak(), "device": self.engine.device_memory()}

    def libraries(self):
        return {**self.engine.libraries(), "torch_imported": "torch" in sys.modules}

    def gemm(self, size, repetitions):
        """The best rate of a product of two square matrices of `size`, in GFLOP/s."""
        multiply = self.engine.square_product(size, self.dtype)
        multiply()
        return 2e-6 * size**3 / min(self.engine.milliseconds(multiply) for _ in range(repetitions))

    def products(self):
        """[{name, M, K, N, flops}] of every layer that multiplies matrices."""
        return self.engine.floor(self.trainer, self.place(0)[2]).describe()

    def floor(self, passes):
        """For each pass over the step's bare matrix products and the optimiser: what each took, in milliseconds."""
        floor = self.engine.floor(self.trainer, self.place(0)[2])
        return [floor.measure(self.engine.milliseconds) for _ in range(1 + passes)][1:]

    def operations(self, repetitions):
        """{name: {forward, backward}} in milliseconds, of every layer alone on the arrays of a real step.

        Where the step is split among workers, it is one worker's share of the batch.
        """
        images = self.place(0)[2]
        workers = self.engine.workers(self.trainer)
        images = images[: -(-len(images) // workers)]
        rows = {}
        with self.engine.as_in_a_worker(workers):
            for operation in self.engine.operations(self.trainer, images):
                times = {"forward": [], "backward": []}
                for _ in range(1 + repetitions):
                    operation.prepare()
                    times["forward"].append(self.engine.milliseconds(operation.forward))
                    times["backward"].append(self.engine.milliseconds(operation.backward))
                rows[operation.name] = {name: median(values[1:]) for name, values in times.items()}
        update = self.engine.update(self.trainer)
        rows["optimizer"] = {"step": median([self.engine.milliseconds(update) for _ in range(1 + repetitions)][1:])}
        return {"rows": rows, "images": len(images), "workers": workers}

    def loading(self, count, image_shape, repetitions):
        """What a step of training pays for its images when there are `count` of them, in milliseconds.

        shuffle  the order of an epoch, cut into batches: its share of one step
        gather   picking a batch out of the stored images and making floats of it
        """
        size, seed = self.options["batch_size"], self.options["seed"]
        images = np.random.default_rng(seed).integers(0, 256, (count, *image_shape), np.uint8)
        shuffle = median(milliseconds(lambda: list(batches(count, size, seed, 0))) for _ in range(3))
        order = list(batches(count, size, seed, 0))
        gather = median(
            milliseconds(lambda batch=batch: to_float(images[batch], self.dtype)) for batch in order[:repetitions])
        return {"shuffle": shuffle / len(order), "gather": gather, "bytes": images.nbytes}

    def writing(self, repetitions):
        """Milliseconds in which a new prior writes a row, with and without the keys and values of earlier codes."""
        found = {}
        for name, write in self.engine.writers(self.trainer.model).items():
            write()
            found[name] = median(self.engine.milliseconds(write) for _ in range(repetitions))
        return found

    def search(self, vectors, code_dim, codes, repetitions):
        """Milliseconds and extra memory, in bytes, of looking up the nearest of `codes` for each of `vectors` vectors.

        resident  how far the process grew above its size before the first search
        traced    the most that NumPy allocated in one search
        """
        rng = np.random.default_rng(self.options["seed"])
        z, codebook = (rng.standard_normal((count, code_dim), self.dtype) for count in (vectors, codes))
        look_up = self.engine.search(z, codebook)
        before = self.memory_of.resident()
        look_up()
        after = self.memory_of.peak()
        times = [self.engine.milliseconds(look_up) for _ in range(repetitions)]
        tracemalloc.start()
        look_up()
        traced = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        resident = None if before is None else max(0, after - before)
        return {"milliseconds": median(times), "resident": resident, "traced": traced}


@contextmanager
def answers():
    """The real standard output; whatever else is printed goes to standard error and cannot spoil an answer."""
    with os.fdopen(os.dup(1), "w") as stream:
        os.dup2(2, 1)
        yield stream


def main():
    with answers() as stream:
        side = None
        for line in sys.stdin:
            request = json.loads(line)
            command = request.pop("command")
            try:
                if command == "start":
                    side, result = Side(**request), None
                else:
                    result = getattr(side, command)(**request)
                reply = {"result": result}
            except (InputError, DataError) as error:
                reply = {"error": str(error)}
            print(json.dumps(reply), file=stream, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
