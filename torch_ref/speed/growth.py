"""How time and memory of a training step grow with the sizes, scratch beside PyTorch at its best.

    python -m torch_ref growth --only batch,codes

Every size is measured in fresh processes that take turns (measure.py), so that its peak memory is its own. Images are
generated, at whatever size is asked for.
"""

from contextlib import ExitStack
from dataclasses import dataclass

from torch_ref.speed import measure as timing
from torch_ref.speed.measure import summary
from torch_ref.speed.options import options_of

SIDES = ("scratch", "torch best")
STEPS = 10
QUICK_ROWS, QUICK_STEPS = 2, 2
LOADING_BATCHES = 50  # whose gathering is timed


@dataclass(frozen=True)
class Sweep:
    """One option of `train` that grows while all others stay."""

    title: str
    model: str
    option: str
    heading: str
    values: tuple


SWEEPS = {
    "batch": Sweep("Batch size", "ae", "batch_size", "images a batch", (16, 32, 64, 128, 256, 512, 1024)),
    "image": Sweep("Image size", "vqvae", "image_size", "pixels a side", (32, 64, 128)),
    "codes": Sweep("Codes", "vqvae", "codes", "codes", (512, 1024, 2048, 4096, 8192, 16384)),
    "code-dim": Sweep("Code dimension", "vqvae", "code_dim", "numbers a code", (64, 128, 256, 512)),
}
# (number of images, shape): a million of the model's own size would be 3 GB, so those are smaller ones.
STORES = ((1_000, (32, 32, 3)), (10_000, (32, 32, 3)), (100_000, (32, 32, 3)), (1_000_000, (8, 8, 3)))
SEARCH = {"vectors": 65_536, "code_dim": 512, "codes": 8_192, "repetitions": 3}
QUICK_SEARCH = {"vectors": 1_024, "code_dim": 64, "codes": 256, "repetitions": 2}
WRITTEN = ("4x4", "8x8", "16x16", "32x32")  # grids of codes that a prior writes, with this codebook
WRITTEN_CODES = 256
WRITTEN_AGAIN = 3  # rows of each size; the median of their times counts
TABLES = (*SWEEPS, "images", "search", "writing")


def measure_steps(options, machine, steps):
    """{side: times and memory} of a training step, in processes of their own."""
    with ExitStack() as stack:
        processes = timing.start(stack, SIDES, options, machine)
        timing.build(processes)
        times, _ = timing.take_turns(processes, steps)
        memory = timing.one_after_the_other(processes, "memory")
    measured = {side: {**summary(times[side]), "memory": memory[side]} for side in SIDES}
    for side in measured.values():
        side["microseconds_per_image"] = 1e3 * side["median"] / options["batch_size"]
    return measured


def sweep(name, preset, machine, steps, quick):
    """The rows of one sweep."""
    plan = SWEEPS[name]
    rows = []
    for value in plan.values[: QUICK_ROWS if quick else None]:
        options = options_of(plan.model, preset, **{plan.option: value})
        sides = measure_steps(options, machine, steps)
        rows.append({plan.option: value, "batch_size": options["batch_size"], "sides": sides,
                     "ratio": sides["scratch"]["median"] / sides["torch best"]["median"]})
    batch = "" if name == "batch" else f", batches of {options['batch_size']}"
    return {"title": f"{plan.title}: {plan.model} ({preset}){batch}", "rows": rows}


def images(preset, machine, steps, quick):
    """Shuffling and loading against the number of images, beside a training step of the AE."""
    options = options_of("ae", preset)
    with ExitStack() as stack:
        processes = timing.start(stack, SIDES, options, machine)
        timing.build(processes)
        times, _ = timing.take_turns(processes, steps)
        medians = {side: summary(times[side])["median"] for side in SIDES}
        rows = []
        for count, shape in STORES[: QUICK_ROWS if quick else None]:
            costs = processes["scratch"].ask(
                "loading", count=count, image_shape=shape, repetitions=LOADING_BATCHES)
            both = costs["shuffle"] + costs["gather"]
            rows.append({"images": count, "shape": list(shape), **costs,
                         "share": {side: both / medians[side] for side in SIDES}})
    return {"title": f"Number of images: loading beside a step of ae ({preset}), batches of {options['batch_size']}",
            "steps": medians, "rows": rows}


def search(preset, machine, steps, quick):
    """The search for the nearest codes, alone."""
    size = QUICK_SEARCH if quick else SEARCH
    with ExitStack() as stack:
        processes = timing.start(stack, SIDES, options_of("vqvae", preset), machine)
        sides = timing.one_after_the_other(processes, "search", **size)
    ratio = sides["scratch"]["milliseconds"] / sides["torch best"]["milliseconds"]
    return {"title": f"The search for the nearest codes: {size['vectors']:,} vectors of {size['code_dim']} against "
                     f"{size['codes']:,} codes", **size, "sides": sides, "ratio": ratio}


def products_of_writing(T, kept, *, width, blocks, codes):
    """Multiply–adds in the matrix products with which a prior of width E writes a row of T of its K codes.

    To pass a code through a block costs 12 E² (attention 4 E², the two linear layers 8 E²) and 2 E for each key; the
    logits of a code cost E·K. With keys and values kept, the t-th code passes alone, with t keys. Otherwise t codes
    pass, with t keys each; in long rows less, because a block of queries leaves out the keys that none of them sees.
    """
    passes = [(1, t) if kept else (t, t) for t in range(1, T + 1)]
    return sum(blocks * count * (12 * width**2 + 2 * width * keys) + width * codes for count, keys in passes)


def writing(preset, machine, steps, quick):
    """How long a prior takes to write a row of codes, with and without keys and values that are kept."""
    rows = []
    for grid in WRITTEN[: QUICK_ROWS if quick else None]:
        options = options_of("prior", preset, grids=grid, codes=WRITTEN_CODES, labels=0, batch_size=1)
        with ExitStack() as stack:
            processes = timing.start(stack, SIDES[:1], options, machine)
            timing.build(processes)
            times = processes["scratch"].ask("writing", repetitions=WRITTEN_AGAIN)
        height, width = map(int, grid.split("x"))
        T, sizes = height * width, dict(width=options["width"], blocks=options["blocks"], codes=WRITTEN_CODES)
        rows.append({"codes": T, "ways": {
            name: {"milliseconds_per_code": took / T,
                   "products_per_code": products_of_writing(T, name == "kept", **sizes) / T}
            for name, took in times.items()}})
    return {"title": f"Writing: one row of codes by a prior ({options['width']} wide, {options['blocks']} blocks, "
                     f"{WRITTEN_CODES} codes)", "rows": rows}


def measure_growth(name, preset, machine, *, steps, quick=False):
    """One of TABLES as a dict that JSON can hold; report.growth_as_markdown shows it. Raises InputError where a side
    cannot be measured.

    quick   the first rows only, and a smaller search
    """
    if name in SWEEPS:
        return sweep(name, preset, machine, steps, quick)
    return {"images": images, "search": search, "writing": writing}[name](preset, machine, steps, quick)
