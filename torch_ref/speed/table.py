"""Training steps of several models and batch sizes, on a GPU without and with TF32.

    python -m torch_ref speeds --device gpu --out docs/gpu_speed

A row is what `compare MODEL --speed` measures (measure.py); one that cannot be measured says why.
"""

from dataclasses import replace

from scratch.options.errors import InputError
from torch_ref.speed import measure as timing
from torch_ref.speed.options import options_of

BATCH_SIZES = (64, 256, 1024, 4096)
STEPS = 20


def plan(models, batch_sizes, device="cpu", dtype="float32"):
    """(model, batch size, TF32) of every row, the models one after the other; on a CPU there is no TF32."""
    precisions = (False,) if device == "cpu" or dtype == "float64" else (False, True)
    return [(model, size, tf32) for model in models for tf32 in precisions for size in batch_sizes]


def measure_table(models, machine, *, batch_sizes=BATCH_SIZES, preset="article", steps=STEPS, device="cpu",
                  dtype="float32", **chosen):
    """Yield a row as soon as it is measured: {model, batch_size, tf32, and measured (a dict of `measure`) or error}.

    chosen   other options of `train`, such as data

    Raises InputError where the first row cannot be measured: the others hardly can.
    """
    for number, (model, batch_size, tf32) in enumerate(plan(models, batch_sizes, device, dtype)):
        options = options_of(model, preset, device=device, dtype=dtype, batch_size=batch_size, **chosen)
        row = {"model": model, "batch_size": batch_size, "tf32": tf32}
        try:
            row["measured"] = timing.measure(options, replace(machine, tf32=tf32), steps=steps)
        except InputError as error:
            if number == 0:
                raise
            row["error"] = str(error)
        yield row
