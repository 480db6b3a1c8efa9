"""The processes of a measurement, from the side of the process that starts them and asks them."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from scratch.accelerate.cpu.workers import cores
from scratch.options.errors import InputError

THREAD_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # --threads decides instead
PINS = (  # variables with which an environment chooses the kernels of a library
    "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY", "NPY_DISABLE_CPU_FEATURES",
)


def pins():
    """{variable: value} of what the environment pins."""
    return {name: os.environ[name] for name in PINS if name in os.environ}


@dataclass
class Machine:
    """What the sides run on.

    threads       of each side; None for all cores
    workers       among which scratch splits a batch; None for what scratch chooses
    unpinned      drop the variables that pin a library's kernels
    tf32          let both sides multiply float32 with TF32 on a GPU
    pins          {variable: value} of the pinned kernels
    environment   the variables that the processes get
    """

    threads: int | None = None
    workers: int | None = None
    unpinned: bool = False
    tf32: bool = False
    pins: dict = field(init=False)
    environment: dict = field(init=False, repr=False)

    def __post_init__(self):
        self.threads = self.threads or cores()
        # Fewer threads than there are cores: scratch's own choice knows nothing of that.
        self.workers = self.workers or (None if self.threads == cores() else self.threads)
        self.pins = {} if self.unpinned else pins()
        dropped = {*THREAD_COUNTS, *(PINS if self.unpinned else ())}
        self.environment = {name: value for name, value in os.environ.items() if name not in dropped}
        self.environment["CUPY_TF32"] = str(int(self.tf32))
        # The same code as here, wherever the command is called.
        paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")]
        self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))


class Process:
    """A side in its own process, which is asked one thing at a time. Raises InputError where it cannot answer."""

    def __init__(self, name, options, machine):
        self.name = name
        accelerated = name == "scratch"
        on_cpu = options["device"] == "cpu"
        of_its_own = {"workers": machine.workers if accelerated and on_cpu else 1, "plain": not accelerated}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "torch_ref.speed.side"], env=machine.environment, text=True, encoding="utf-8",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.send("start", side=name, options={**options, **of_its_own}, threads=machine.threads, tf32=machine.tf32)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is not None:
            self.process.kill()
        try:
            self.process.stdin.close()
        except BrokenPipeError:  # it has ended by itself
            pass
        self.process.wait()
        self.process.stdout.close()

    def send(self, command, **arguments):
        """Ask for something; `receive` is the answer."""
        try:
            print(json.dumps({"command": command, **arguments}), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise self.died() from None

    def receive(self):
        """The answer to the oldest request that has none yet."""
        line = self.process.stdout.readline()
        if not line:
            raise self.died()
        answer = json.loads(line)
        if "error" in answer:
            raise InputError(answer["error"])
        return answer["result"]

    def ask(self, command, **arguments):
        """The answer to a request."""
        self.send(command, **arguments)
        return self.receive()

    def died(self):
        """The error of a process that ended instead of answering."""
        return InputError(f"the process that measures {self.name!r} ended with status {self.process.wait()} before it "
                          f"answered. Its own messages stand above; if it was killed, memory may have run out.")


def start(stack, names, options, machine):
    """{name: Process}, all of them started, which takes a while, before the first is asked anything."""
    processes = {name: stack.enter_context(Process(name, options, machine)) for name in names}
    for process in processes.values():
        process.receive()
    return processes


def build(processes):
    """What each process answers when it has loaded the images and made its trainer."""
    return {name: process.ask("build") for name, process in processes.items()}
