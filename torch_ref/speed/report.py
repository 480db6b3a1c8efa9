"""What a measurement found, in words: tables for the terminal, and Markdown."""

import os
import platform
from datetime import UTC, datetime

from scratch.accelerate.cpu.workers import cores
from scratch.commands.devices import cuda
from torch_ref.speed import growth
from torch_ref.speed.measure import FLOOR, GEMM_SIZE, SIDES, THEIRS

HEADING = ["model", "images a step", "TF32", *(f"{side}: ms (quartiles)" for side in SIDES),
           "scratch / torch", "scratch / torch best", "plain / torch best", "scratch / floor",
           "MB of the GPU: scratch, torch best"]


def megabytes(count):
    """Bytes as millions, a dash where they are not known."""
    return "–" if count is None else f"{count / 1e6:.0f}"


def by(shape):
    """(32, 32, 3) as "32×32×3"."""
    return "×".join(map(str, shape))


def report(result):
    """Print what `measure` found as tables."""
    sides, floor = result["sides"], result["floor"]
    workers = sides["scratch"]["workers"]
    print(f"{result['model']} ({result['preset']}), {result['parameters']:,} parameters: training steps of "
          f"{result['batch_size']} examples of {by(result['image_shape'])} in {result['dtype']}, "
          f"{on_what(result)},\n{result['steps']} steps a side after warm-up, in turns; "
          f"images are converted to floats before the time is taken.\n")

    print(f"{'':15}{'ms/step':>10}{'quartiles':>17}{'peak MB':>10}{'imports MB':>12}{'of peak':>9}{'of floor':>10}")
    for name, side in sides.items():
        lower, upper = side["quartiles"]
        against_floor = f"{floor['ratios'][name]:.2f}" if name in floor["ratios"] else ""
        quartiles = f"{lower:.1f} – {upper:.1f}"
        print(f"{name:15}{side['median']:10.1f}{quartiles:>17}{megabytes(side['memory']['peak']):>10}"
              f"{megabytes(side['memory']['imports']):>12}{side['share_of_peak']:9.1%}{against_floor:>10}")
    print()
    for name, side in sides.items():
        print(f"{name:15}{side['what']}" + (f"; {workers} worker(s)" if name == "scratch" else ""))
    print("peak MB is the process's largest size, imports MB its size before it held images or a model.")
    if result["device"] != "cpu":
        held = ", ".join(f"{name} {megabytes(side['memory']['device'])}" for name, side in sides.items())
        print(f"MB of the GPU's memory that each held at most: {held}.")

    print(f"\n{'ratio':15}" + "".join(f"{'/ ' + theirs:>14}" for theirs in THEIRS))
    for ours, ratios in result["ratios"].items():
        print(f"{ours:15}" + "".join(f"{ratios[theirs]:14.2f}" for theirs in THEIRS))

    kind = "sgemm" if result["dtype"] == "float32" else "dgemm"
    print(f"\nfloor: {floor['total']:.1f} ms = {floor['products']:.1f} ms of bare matrix products at the step's shapes "
          f"+ {floor['optimizer']:.1f} ms for a pass of the optimiser")
    print(f"flops: {result['flops'] / 1e9:.2f} GFLOP a step in matrix products (im2col's)")
    print(f"{kind} peak at {GEMM_SIZE}³: {'NumPy' if result['device'] == 'cpu' else 'CuPy'} "
          f"{result['peak_gflops']['scratch']:.0f} GFLOP/s, "
          f"PyTorch {result['peak_gflops']['torch']:.0f} GFLOP/s")
    report_libraries(result)
    if result["load"] is not None:
        print(f"Before it began, {result['load']:.1f} threads of other programs were busy or waiting on "
              f"{cores()} core(s) (average of a minute).")
    if result["operations"]:
        report_operations(result)


def on_what(result):
    """The device that the sides run on, in words."""
    if result["device"] == "cpu":
        return f"{result['threads']} thread(s) a side"
    gpu = result["sides"]["scratch"]["libraries"]["gpu"]
    return f"{gpu}, TF32 {'on' if result['tf32'] else 'off'}, between CUDA events"


def report_libraries(result):
    """Which libraries ran, on which kernels, and whether somebody chose those."""
    ours, theirs = (result["sides"][name]["libraries"] for name in ("scratch plain", "torch"))
    blas = ", ".join(f"{pool['internal_api']} {pool['version']}, {pool['architecture'] or 'unknown'} kernels, "
                     f"{pool['num_threads']} thread(s)" for pool in ours["blas"])
    print(f"NumPy {ours['numpy']} on {blas or 'a BLAS unknown to threadpoolctl'}")
    if "cupy" in ours:
        print(f"CuPy {ours['cupy']} on {ours['gpu']}; cuDNN {theirs['cudnn']}")
    print(f"PyTorch {theirs['torch']} on {theirs['blas']}, {theirs['cpu_capability']}, {theirs['threads']} thread(s)")
    pinned = ", ".join(f"{name}={value}" for name, value in result["pins"].items())
    print(f"The environment pins the kernels: {pinned}" if pinned else "The environment pins no kernels.")


def report_operations(result):
    """Every operation by itself, what it means, and what the step costs beyond the sum of them."""
    operations = result["operations"]
    rows, explained = operations["rows"], operations["explained"]
    width = 2 + max(map(len, rows))
    print("\nEvery operation alone, forward / backward in ms, on the arrays of a real step and a random upstream "
          "gradient.")
    if (workers := operations["workers"]["scratch"]) > 1:
        print(f"scratch: one worker's share, {operations['images']['scratch']} of {result['batch_size']} images on one "
              f"BLAS thread; its {workers} workers do that at the same time.")
    print(f"\n{'':{width}}" + "".join(f"{name:>17}" for name in (*SIDES, FLOOR)))
    for name, row in rows.items():
        print(f"{name:{width}}" + "".join(f"{both_ways(row.get(side)):>17}" for side in (*SIDES, FLOOR)))
    print()
    whole_step = {name: side["median"] for name, side in result["sides"].items()} | {FLOOR: result["floor"]["total"]}
    for title, values in (("sum", operations["sums"]), ("whole step", whole_step)):
        print(f"{title:{width}}" + "".join(f"{values[name]:17.2f}" for name in (*SIDES, FLOOR) if name in values))

    print("\nThe same in relation: scratch over PyTorch's sides, the share of the peak that each side reaches, and how "
          "many ms\nscratch is above its floor, the largest first.\n")
    columns = [*(f"/ {theirs}" for theirs in THEIRS), *SIDES, "above"]
    print(f"{'':{width}}" + "".join(f"{column:>14}" for column in columns))
    for name, row in sorted(explained.items(), key=lambda item: -(item[1]["above_floor"] or 0.0)):
        cells = [number(row["ratios"].get(theirs), ".2f") for theirs in THEIRS]
        cells += [number(row["share_of_peak"].get(side), ".1%") for side in SIDES]
        cells += [number(row["above_floor"], ".2f")]
        print(f"{name:{width}}" + "".join(f"{cell:>14}" for cell in cells))


def both_ways(times):
    """Forward and backward, or the one time of the optimiser; a dash where the side has no such operation."""
    return "–" if times is None else " / ".join(f"{value:.2f}" for value in times.values())


def number(value, form):
    """A formatted number, a dash where there is none."""
    return "–" if value is None else format(value, form)


def markdown(heading, rows):
    """A Markdown table; the first column names the row, the others are numbers."""
    lines = [heading, ["---"] + ["---:"] * (len(heading) - 1), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def cells(row):
    """A row as Markdown's cells."""
    start = [row["model"], f"{row['batch_size']:,}", "on" if row["tf32"] else "off"]
    if "error" in row:
        return [*start, row["error"].replace("|", "¦"), *[""] * (len(HEADING) - len(start) - 1)]
    result = row["measured"]
    sides, ratios = result["sides"], result["ratios"]
    times = ["{median:.2f} ({0:.2f} – {1:.2f})".format(*side["quartiles"], **side) for side in sides.values()]
    memory = ", ".join(megabytes(sides[name]["memory"]["device"]) for name in ("scratch", "torch best"))
    compared = [ratios["scratch"]["torch"], ratios["scratch"]["torch best"], ratios["scratch plain"]["torch best"],
                result["floor"]["ratios"]["scratch"]]
    return [*start, *times, *(f"{ratio:.2f}" for ratio in compared), memory]


def circumstances(rows, *, command, preset, dtype, data, steps):
    """What the figures of `measure_table` depend on: {name: text}."""
    measured = [row["measured"] for row in rows if "measured" in row]
    libraries = {}
    for side in ("scratch", "torch"):
        libraries |= measured[0]["sides"][side]["libraries"] if measured else {}
    named = {"gpu": "GPU", "driver": "the driver's CUDA", "cupy": "CuPy", "torch": "PyTorch", "cudnn": "cuDNN",
             "numpy": "NumPy"}
    return {
        "command": command,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, "
                   f"Python {platform.python_version()}",
        **{title: cuda(libraries[name]) if name == "driver" else str(libraries[name])
           for name, title in named.items() if name in libraries},
        "what": f"preset {preset}, {dtype}, images of {data}; medians of "
                f"{steps} steps a side (forward, backward, Adam), between CUDA events on a GPU",
    }


def table_as_markdown(found, rows):
    """The rows of `measure_table` and their circumstances."""
    lines = ["# Training steps, measured", "", *(f"- {name}: {text}" for name, text in found.items()), ""]
    lines += [f"- *{name}*: {what}" for name, what in SIDES.items()]
    return "\n".join([*lines, "", markdown(HEADING, map(cells, rows)), ""])


def growth_as_markdown(name, table):
    """A table of `measure_growth`."""
    if name in growth.SWEEPS:
        return sweep_as_markdown(name, table)
    return {"images": images_as_markdown, "search": search_as_markdown, "writing": writing_as_markdown}[name](table)


def sweep_as_markdown(name, table):
    plan = growth.SWEEPS[name]
    heading = [plan.heading]
    for side in growth.SIDES:
        heading += [f"{side}: ms/step (quartiles)", "µs/image", "peak MB", "imports MB"]
    lines = []
    for row in table["rows"]:
        line = [f"{row[plan.option]:,}"]
        for side in growth.SIDES:
            of_side = row["sides"][side]
            lower, upper = of_side["quartiles"]
            line += [f"{of_side['median']:.1f} ({lower:.1f} – {upper:.1f})",
                     f"{of_side['microseconds_per_image']:.0f}",
                     *(megabytes(of_side["memory"][when]) for when in ("peak", "imports"))]
        lines.append([*line, f"{row['ratio']:.2f}"])
    return markdown([*heading, "scratch / torch best"], lines)


def images_as_markdown(table):
    heading = ["images", "of", "stored MB", "shuffling: ms a step", "gathering and floats: ms a step",
               *(f"both, of a step of {side} ({table['steps'][side]:.1f} ms)" for side in growth.SIDES)]
    return markdown(heading, [
        [f"{row['images']:,}", by(row["shape"]), megabytes(row["bytes"]), f"{row['shuffle']:.4f}",
         f"{row['gather']:.3f}", *(f"{row['share'][side]:.2%}" for side in growth.SIDES)]
        for row in table["rows"]
    ])


def writing_as_markdown(table):
    ways = {"kept": "keys and values kept", "not kept": "the whole row again for each code"}
    heading = ["codes in a row", *(f"{what}: {unit}" for what in ways.values()
                                   for unit in ("ms a code", "million multiply–adds a code")), "times as long"]
    lines = []
    for row in table["rows"]:
        kept, again = (row["ways"][name] for name in ways)
        line = [f"{row['codes']:,}"]
        for way in (kept, again):
            line += [f"{way['milliseconds_per_code']:.2f}", f"{1e-6 * way['products_per_code']:.2f}"]
        lines.append([*line, f"{again['milliseconds_per_code'] / kept['milliseconds_per_code']:.1f}"])
    return markdown(heading, lines)


def search_as_markdown(table):
    """NumPy tells tracemalloc what it allocates; PyTorch does not, so there the growth of the process has to do."""
    rows = [
        [side, f"{of_side['milliseconds']:.0f}", megabytes(of_side["resident"]),
         megabytes(of_side["traced"]) if side == "scratch" else "–"]
        for side, of_side in table["sides"].items()
    ]
    ratio = ["scratch / torch best", f"{table['ratio']:.2f}", "", ""]
    return markdown(["", "ms", "growth of the process, MB", "traced by tracemalloc, MB"], [*rows, ratio])
