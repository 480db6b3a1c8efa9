"""Scratch beside torch: the same weights, the same batches and the same noise, and how far the two sides differ.

    python -m torch_ref compare vae --preset small --steps 50

Three things are compared: every parameter's gradient at the first step, the loss at every step, and the weights
after the first step and at the end. The two sides round differently and cannot agree in every bit. So each difference
has a bound, and `"ok"` says whether all bounds hold.

In float32 only the gradients and the first losses are judged. Later losses differ because rounding grows from step to
step: PyTorch with one thread differs as much from PyTorch with two.

With --speed times and memory are compared instead of values: torch_ref/speed.
"""

import json
import math

import numpy as np
import torch

from data_utils import batches
from scratch.accelerate import accelerate, accelerate_optimizer
from scratch.arrays import each
from scratch.commands.options import add_model_options, argument, given, model_names, read, whole
from scratch.models.build import build as build_scratch
from scratch.models.system import find_system, systems
from scratch.optim import Adam
from scratch.options.errors import InputError
from scratch.options.option import Real
from scratch.options.resolve import model_options, resolve, resolve_model
from scratch.runs.examples import load_examples
from torch_ref.models import build as build_torch
from torch_ref.models import model_options as options_of_torch
from torch_ref.speed import commands as speed

BOUNDED_STEPS = 50  # the bounds on losses and final weights are stated for so many steps; later ones are only shown
BOUNDS = {
    "float64": {"gradients": 1e-12, "losses": 1e-9, "weights, first step": 1e-9, "weights, last step": 1e-6},
    "float32": {"gradients": 1e-4, "losses": 1e-4},
}
JUDGED_LOSSES = {"float64": BOUNDED_STEPS, "float32": 5}
LEAST_CODES = 16  # that a VQ-VAE uses at every step of a comparison worth its name
DEFAULTS = {"preset": "small", "steps": 50, "dtype": "float64"}
SPEED_DEFAULTS = {"preset": "article", "steps": 20, "dtype": "float32"}


def relative_difference(ours, theirs, scale=0.0):
    """max |ours − theirs| over max |theirs|, or over `scale` where that is larger. Zeros agree with zeros."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    difference = np.abs(ours - theirs).max()
    scale = max(np.abs(theirs).max(), scale)
    return float(difference / scale) if scale > 0 else float(difference)


def gradient_differences(ours, theirs):
    """{name: relative difference} of two dicts of gradients.

    Each is relative to the tensor's own largest magnitude. Where the true gradient is zero (of a bias before a
    normalisation, say) rounding alone is left of it, and has no scale of its own: a tensor whose entries are all
    below 100 ε of the model's largest gradient is measured against that largest gradient instead.
    """
    largest = max(np.abs(gradient).max() for gradient in theirs.values())
    differences = {}
    for name, gradient in theirs.items():
        vanishes = np.abs(gradient).max() < 100 * np.finfo(gradient.dtype).eps * largest
        differences[name] = relative_difference(ours[name], gradient, scale=largest if vanishes else 0.0)
    return differences


def weight_difference(ours, theirs):
    """The largest relative difference of any tensor of scratch's model `ours` to the same of torch's `theirs`."""
    own = ours.state_dict()
    return float(np.max([relative_difference(own[name], w.numpy()) for name, w in theirs.state_dict().items()]))


def use_many_codes(model, x, rng):
    """Start scratch's model so that it uses many codes: a comparison in which every patch gets one code proves little.

    Where codes are drawn from logits, these are given a deviation of 6, so that many codes are the most probable one
    somewhere, and clearly enough to stay it for some steps. A later level's latents depend on the codes of those before
    it. A model without codes stays as it is.
    """
    if not model.has_images:
        return
    h = model.encoder.forward(x)  # in training mode: a new BatchNorm2d's running statistics know no image
    with model.evaluating():
        for project, quantizer, latents in model.bottleneck.stages():
            if quantizer is None:
                standardize(project, lambda latents=latents: latents(h), deviation=6)
            else:
                spread_codes(project, quantizer, lambda latents=latents: latents(h), rng)


def standardize(project, forward, deviation=1):
    """Scale a projection so that each channel of its output z has mean 0 and this deviation; z (M, channels).

    `forward` ends with the projection and gives its output.
    """
    def rows():
        z = forward()
        return z.reshape(-1, z.shape[-1])

    z = rows()
    mean, scale = z.mean(axis=0), z.std(axis=0) / deviation
    project.weight.value /= scale
    project.bias.value[...] = (project.bias.value - mean) / scale
    return rows()


def spread_codes(project, quantizer, forward, rng):
    """Standardize the projection before a quantizer, and set the codes to latents that it then gives.

    A little noise keeps the codes of equal patches apart, between which rounding would choose. Where there are more
    codes than patches, the rest stay as they are.
    """
    z, codebook = standardize(project, forward), quantizer.codebook.value
    chosen = rng.choice(len(z), min(len(z), len(codebook)), replace=False)
    codebook[: len(chosen)] = z[chosen] + 0.1 * rng.standard_normal(z[chosen].shape, dtype=z.dtype)


def to_torch(examples):
    """(N, H, W, C) in NumPy to (N, C, H, W) in PyTorch; vectors (N, Z) and tokens (N, T) stay as they are."""
    tensor = torch.from_numpy(examples)
    return tensor.movedim(-1, 1).contiguous() if tensor.ndim == 4 else tensor


def batch_at(images, step, batch_size, seed):
    """The step-th batch (N, H, W, C) uint8 of as many shuffled epochs as it takes."""
    epoch, within = divmod(step, math.ceil(len(images) / batch_size))
    return images[list(batches(len(images), batch_size, seed, epoch))[within]]


def same_start(model, options, first_batch, dtype, rng, plain=False):
    """(scratch's model, torch's model) with the same weights, for stored examples like those of the batch.

    Unless `plain`, every layer of scratch's that has an accelerated form has it here, few channels or many.
    """
    shape = first_batch.shape[1:]
    ours = build_scratch(model, shape, options, dtype=dtype, rng=rng)
    if not plain:
        accelerate(ours, least_channels=1)
    use_many_codes(ours, ours.inputs(first_batch, dtype), rng)
    theirs = build_torch(model, shape, options_of_torch(model, ours.options), dtype=getattr(torch, dtype.name))
    theirs.load_state_dict({name: torch.tensor(array) for name, array in ours.state_dict().items()}, strict=True)
    return ours, theirs


def forward_and_backward(ours, theirs, x, noise):
    """(scratch's loss, torch's loss) of one batch; both sides then hold its gradients."""
    ours.zero_grad()
    our_loss, _ = ours.loss(x, noise)
    ours.backward()

    theirs.zero_grad()
    their_loss, _ = theirs.loss(to_torch(x), None if noise is None else each(to_torch, noise))
    their_loss.backward()
    return float(our_loss), their_loss.item()


def grids(bottleneck):
    """The code indices of a bottleneck's last forward, level by level."""
    return bottleneck.by_level(bottleneck.indices).values()


def judge(measured, dtype, agreement, in_use):
    """Every measured maximum beside its bound, and the codes where there are any: [{name, measured, bound, ok}]."""
    # `<=` and not `not >`: a NaN breaks every bound
    checks = [
        {"name": name, "measured": measured[name], "bound": bound, "ok": measured[name] <= bound}
        for name, bound in BOUNDS[dtype.name].items()
    ]
    if in_use:
        fewest = min(in_use)
        checks.append({"name": "fewest codes in use", "measured": fewest, "bound": LEAST_CODES,
                       "ok": fewest >= LEAST_CODES})
    if in_use and dtype == np.float64:
        agreeing = min(agreement[:BOUNDED_STEPS])
        checks.append({"name": "equal code indices", "measured": agreeing, "bound": 1.0, "ok": agreeing >= 1.0})
    return checks


def compare(model, options, images, *, steps=50, dtype="float64", batch_size=64, lr=1e-3, seed=0, plain=False):
    """Train both sides for `steps` steps of Adam and compare them. Returns a dict that JSON can hold.

    Raises ValueError for options that make no model.

    model    the name of a system
    options  as `build` takes them
    images   (M, H, W, C) uint8, or other stored examples (M, ...)
    plain    leave out scratch's accelerated forms
    """
    dtype = np.dtype(dtype)
    rng = np.random.default_rng(seed)
    image_shape = images.shape[1:]
    ours, theirs = same_start(model, options, batch_at(images, 0, batch_size, seed), dtype, rng, plain)
    our_adam = Adam(ours.named_parameters(), lr=lr)
    if not plain:
        accelerate_optimizer(our_adam)
    their_adam = torch.optim.Adam(theirs.parameters(), lr=lr)

    losses = {"scratch": [], "torch": [], "difference": []}
    weights, agreement, in_use = {}, [], []
    for step in range(steps):
        x = ours.inputs(batch_at(images, step, batch_size, seed), dtype)
        noise = ours.draw_noise(len(x), rng)
        for side in (ours, theirs):
            side.at_step(step)

        our_loss, their_loss = forward_and_backward(ours, theirs, x, noise)
        losses["scratch"].append(our_loss)
        losses["torch"].append(their_loss)
        losses["difference"].append(relative_difference(our_loss, their_loss))
        if step == 0:
            our_gradients = ours.grad_dict()
            their_gradients = {name: p.grad.numpy().copy() for name, p in theirs.named_parameters()}
        if ours.has_images and ours.bottleneck.indices is not None:
            levels = list(zip(grids(ours.bottleneck), grids(theirs.bottleneck), strict=True))
            # of several levels the one that agrees least, and the one that uses the fewest codes
            agreement.append(min(float(np.mean(own == other.numpy())) for own, other in levels))
            in_use.append(min(len(np.unique(other)) for _, other in levels))

        our_adam.step()
        their_adam.step()
        if ours.moves:
            choices = ours.draw_choices(rng)
            ours.update(choices)
            theirs.update(None if choices is None else torch.from_numpy(choices))
        if step + 1 in (1, min(steps, BOUNDED_STEPS), steps):
            weights[step + 1] = weight_difference(ours, theirs)

    return {
        "model": model, "image_shape": list(image_shape), "parameters": ours.parameter_count(),
        "dtype": dtype.name, "steps": steps, "batch_size": batch_size, "lr": lr, "seed": seed,
        **outcome((our_gradients, their_gradients), losses, weights, agreement, in_use, dtype),
    }


def outcome(gradients, losses, weights, agreement, in_use, dtype):
    """What a comparison found, tensor by tensor and step by step, and whether all bounds hold."""
    ours, theirs = gradients
    differences = gradient_differences(ours, theirs)
    measured = {
        "gradients": float(np.max(list(differences.values()))),
        "losses": float(np.max(losses["difference"][: JUDGED_LOSSES[dtype.name]])),
        "weights, first step": weights[1],
        "weights, last step": weights[min(len(losses["scratch"]), BOUNDED_STEPS)],
    }
    checks = judge(measured, dtype, agreement, in_use)
    return {
        "gradients": {
            name: {"shape": list(gradient.shape), "largest": float(np.abs(gradient).max()),
                   "difference": differences[name]}
            for name, gradient in theirs.items()
        },
        "losses": losses,
        "weights": {str(step): difference for step, difference in weights.items()},
        "codes": {"agreement": agreement, "in_use": in_use} if in_use else None,
        "checks": checks,
        "ok": all(check["ok"] for check in checks),
    }


def report(result):
    """Print what `compare` found as tables."""
    size = "×".join(map(str, result["image_shape"]))
    print(f"{result['model']}, {result['parameters']:,} parameters, images of {size}: {result['steps']} Adam steps of "
          f"{result['batch_size']} images in {result['dtype']}, lr {result['lr']:g}, seed {result['seed']}")

    print(f"\n{'gradient at the first step':38}{'shape':20}{'largest':>11}{'difference':>12}")
    for name, row in result["gradients"].items():
        shape = "×".join(map(str, row["shape"]))
        print(f"{name:38}{shape:20}{row['largest']:11.3e}{row['difference']:12.1e}")

    codes = result["codes"]
    print(f"\n{'step':>5}{'loss, scratch':>22}{'loss, torch':>22}{'difference':>12}"
          + (f"{'codes in use':>14}{'equal':>9}" if codes else ""))
    last, digits = result["steps"] - 1, np.finfo(result["dtype"]).precision
    for step in sorted({0, 1, 2, 3, 4, last, *range(9, last, max(10, result["steps"] // 50 * 10))}):
        if step <= last:
            ours, theirs, difference = (result["losses"][side][step] for side in ("scratch", "torch", "difference"))
            print(f"{step + 1:5}{ours:22.{digits}g}{theirs:22.{digits}g}{difference:12.1e}"
                  + (f"{codes['in_use'][step]:14}{codes['agreement'][step]:9.2%}" if codes else ""))

    print(f"\n{'weights after step':38}{'largest difference':>43}")
    for step, difference in result["weights"].items():
        print(f"{step:38}{difference:43.1e}")

    print("\nDifferences are relative to each tensor's largest magnitude.")
    if result["dtype"] == "float32":
        print("In float32 only the gradients and the first five losses are judged. Later losses differ through "
              "rounding,\nas PyTorch's own do with another number of threads.")
    if result["steps"] > BOUNDED_STEPS:
        print(f"The bounds are for the first {BOUNDED_STEPS} steps; later steps are shown and not judged.")
    print()
    for check in result["checks"]:
        sign = "≥" if "code" in check["name"] else "≤"
        verdict = "ok" if check["ok"] else "BROKEN"
        print(f"{check['name']:24}{check['measured']:10.2g}  {sign} {check['bound']:<8g}{verdict}")
    print("\nscratch and torch agree." if result["ok"] else "\nscratch and torch DISAGREE.")


def example_options():
    """{name: Option} of those that say which examples are compared on, of every system; their number and size are the
    comparison's own."""
    return {name: option for model in systems() for name, option in example_options_of(model).items()}


def example_options_of(model):
    """The same of one system."""
    options = {option.name: option for option in find_system(model).data_options}
    return {name: option for name, option in options.items() if name not in ("limit", "image_size")}


def add_arguments(parser):
    """The options of `python -m torch_ref compare`. Those whose default depends on --speed have none here."""
    def default(name):
        return f"{DEFAULTS[name]}; with --speed {SPEED_DEFAULTS[name]}"

    parser.add_argument("model", help=", ".join(systems()))
    for option in example_options().values():
        parser.add_argument(option.flag, dest=option.name, metavar=option.kind.metavar,
                            help=f"{option.help} (default: {option.default})")
    parser.add_argument("--steps", type=whole(1), metavar="N", help=f"steps of Adam ({default('steps')})")
    parser.add_argument("--dtype", choices=tuple(BOUNDS), help=f"({default('dtype')})")
    parser.add_argument("--batch-size", type=whole(1), metavar="N", help="images a step (default: the preset's)")
    parser.add_argument(
        "--lr", type=argument(Real(0, included=False)), metavar="X",
        help="Adam's (default: the preset's; a tenth of it where there are codes, which fall out of use in ten steps "
             "otherwise)")
    parser.add_argument("--seed", type=whole(0), default=0, metavar="N", help="(default: 0)")
    parser.add_argument("--plain", action="store_true", help="leave out scratch's accelerated forms")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_model_options(parser)
    speed.add_arguments(parser)


def fill_in(arguments):
    """Fill in the defaults of the kind of comparison asked for. Raises InputError for an option of the other kind."""
    if arguments.speed and arguments.lr is not None:
        raise InputError("--lr cannot be given with --speed: a step takes as long with one learning rate as another.")
    if arguments.speed and arguments.plain:
        raise InputError("--plain cannot be given with --speed, which times scratch's plain forms beside the others.")
    for name in ("operations", "threads", "workers", "unpinned", "device", "tf32"):
        if getattr(arguments, name) and not arguments.speed:
            raise InputError(f"--{name} is an option of compare --speed: add --speed, or leave --{name} out.")
    for name, default in (SPEED_DEFAULTS if arguments.speed else DEFAULTS).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)


def chosen_options(arguments):
    """{option: value} of what makes the model, as the command line gives it. Raises InputError."""
    texts = {name: text for name, text in given(arguments).items() if name in model_names()}
    chosen = read(arguments.model, texts, model_options)
    return {"preset": arguments.preset, **chosen}


def run(arguments):
    """Compare as the command line asks; the exit status: 0, or 1 when a bound is broken."""
    fill_in(arguments)
    options = chosen_options(arguments)
    if arguments.speed:
        if "data" not in example_options_of(arguments.model):
            raise InputError(f"--speed times models of images, which {arguments.model} does not take: leave it out.")
        return speed.run(arguments, options)
    resolved = resolve_model(arguments.model, options)
    wanted = {name: getattr(arguments, name) for name in example_options() if getattr(arguments, name) is not None}
    recipe = resolve(arguments.model, {"preset": arguments.preset, "seed": arguments.seed,
                                       **read(arguments.model, wanted)})
    if resolved.get("codebook_init") == "normal":  # under codes far apart gradients soon bring all patches to one code
        options["codebook_init"] = "uniform"
    batch_size = arguments.batch_size or recipe["batch_size"]
    lr = arguments.lr or (recipe["lr"] / 10 if "codes" in resolved else recipe["lr"])
    data = load_examples({**recipe, "limit": arguments.steps * batch_size})
    result = compare(
        arguments.model, options, data.train, steps=arguments.steps, dtype=arguments.dtype,
        batch_size=batch_size, lr=lr, seed=arguments.seed, plain=arguments.plain)
    result |= {"preset": arguments.preset, "plain": arguments.plain, "likelihood": resolved.get("likelihood"),
               "data": data.name}
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        report(result)
    return 0 if result["ok"] else 1
