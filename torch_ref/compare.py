"""Scratch beside torch: the same weights, the same batches and the same noise, and how far the two sides differ.

    python -m torch_ref compare vae --preset small --steps 50

Three things are compared: every parameter's gradient at the first step, the loss at every step, and the weights
after the first step and at the end. The two sides round differently and cannot agree in every bit. So each difference
has a bound, and `"ok"` says whether all bounds hold.

In float32 only the gradients and the first losses are judged. Later losses differ because rounding grows from step to
step: PyTorch with one thread differs as much from PyTorch with two.

The command is in commands.py. With --speed it compares times and memory instead of values: torch_ref/speed.
"""

import math

import numpy as np
import torch

from data_utils import batches
from scratch.accelerate import accelerate, accelerate_optimizer
from scratch.arrays import each
from scratch.models.build import build as build_scratch
from scratch.optim import Adam
from torch_ref.models import build as build_torch
from torch_ref.models import model_options as options_of_torch

BOUNDED_STEPS = 50  # the bounds on losses and final weights are stated for so many steps; later ones are only shown
BOUNDS = {
    "float64": {"gradients": 1e-12, "losses": 1e-9, "weights, first step": 1e-9, "weights, last step": 1e-6},
    "float32": {"gradients": 1e-4, "losses": 1e-4},
}
JUDGED_LOSSES = {"float64": BOUNDED_STEPS, "float32": 5}
LEAST_CODES = 16  # that a VQ-VAE uses at every step of a comparison worth its name


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


def leave_zero(model):
    """Give the parameters of scratch's model that begin at 0, such as the biases of norms and of attention, small
    random values: zeros hide errors, and have no scale to which a difference could be related."""
    rng = np.random.default_rng(0)
    for parameter in model.named_parameters().values():
        if not parameter.value.any():
            parameter.value[...] = 0.1 * rng.standard_normal(parameter.value.shape)


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
    """Standardize the projection before a quantizer, and set the codes to latents that it then gives, or to their
    slices if it has several codebooks.

    A little noise keeps the codes of equal patches apart, between which rounding would choose. Where there are more
    codes than patches, the rest stay as they are.
    """
    codebooks = [part.codebook.value for part in quantizer.modules() if hasattr(part, "codebook")]
    for z, codebook in zip(np.split(standardize(project, forward), len(codebooks), axis=1), codebooks, strict=True):
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
    leave_zero(ours)
    theirs = build_torch(model, shape, options_of_torch(model, ours.options), dtype=getattr(torch, dtype.name))
    theirs.load_state_dict({name: torch.tensor(array) for name, array in ours.state_dict().items()}, strict=True)
    return ours, theirs


def optimizers(ours, theirs, lr, plain=False):
    """(scratch's Adam, torch's Adam) of two models."""
    our_adam = Adam(ours.named_parameters(), lr=lr)
    return our_adam if plain else accelerate_optimizer(our_adam), torch.optim.Adam(theirs.parameters(), lr=lr)


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
    """The code indices of a bottleneck's last forward, codebook by codebook."""
    return bottleneck.by_codebook(bottleneck.indices).values()


def agreement_of_codes(ours, theirs):
    """(share of equal code indices, number of codes in use) of the last forward; of several codebooks, the smallest."""
    codebooks = list(zip(grids(ours.bottleneck), grids(theirs.bottleneck), strict=True))
    equal = min(float(np.mean(own == other.numpy())) for own, other in codebooks)
    return equal, min(len(np.unique(other)) for _, other in codebooks)


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
    our_adam, their_adam = optimizers(ours, theirs, lr, plain)

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
            equal, used = agreement_of_codes(ours, theirs)
            agreement.append(equal)
            in_use.append(used)

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
