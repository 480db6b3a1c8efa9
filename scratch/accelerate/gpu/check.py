"""One small step in both forms, plain and fused, before a run on a GPU trains with the fused forms.

Fused forms are compiled on the machine, for a GPU that may never have run them. So each run on a GPU first takes one
step on four random images in both forms, with copies of its model and optimiser. If the results differ or a form fails,
the run trains with the plain forms.

Two arrays agree if no number differs by more than TOLERANCE times the largest number of the plain one. A gradient may
also differ by NOISE times the largest number of all gradients, because one that should be 0 may hold rounding. A term
may also differ by NOISE nats. The updates of the optimisers are compared under the same gradients.
"""

import copy
import math

import numpy as np

from scratch.accelerate import accelerate_on_gpu, accelerate_optimizer
from scratch.arrays import array_module, each, generator, to_host

TOLERANCE = {"float32": 1e-3, "float64": 1e-8}
NOISE = {"float32": 1e-5, "float64": 1e-13}
IMAGES = 4
TRIALS = 3  # batches to try if rounding alone makes the two forms choose different codes


def choose_form(model, optimizer, image_shape):
    """Change a plain model on a GPU and its optimiser to the forms that start fewer kernels, if these compute the same.

    Returns None, or a sentence that says why both stay plain. Weights and moments do not change.
    """
    if not model.has_images:
        return None  # it stays plain: there is no image to try
    try:
        problem = compare(model, optimizer, image_shape)
    except MemoryError:
        problem = "there is too little memory to compare a step with them with a plain one"
    except Exception as error:  # whatever a compiler, a driver or an array module may raise
        problem = f"a step with them failed with {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    pool = array_module(next(iter(optimizer.parameters.values())).value).get_default_memory_pool()
    pool.free_all_blocks()  # which held the copies
    if problem:
        return f"The faster forms for a GPU are left out: {problem}."
    accelerate_on_gpu(model)
    accelerate_optimizer(optimizer)
    return None


def compare(model, optimizer, image_shape):
    """What is wrong with a step in the fused forms, in words, or None. Copies take the step."""
    plain, fast = copy.deepcopy((model, optimizer)), copy.deepcopy((model, optimizer))
    accelerate_on_gpu(fast[0])
    accelerate_optimizer(fast[1])
    difference = step_differs(plain, fast, image_shape)
    return difference and f"a step with them {difference}"


def step_differs(plain, fast, image_shape):
    """What differs in one step of two pairs of (model, optimiser), in words, or None. Both pairs are changed."""
    value = next(iter(plain[1].parameters.values())).value
    for trial in range(TRIALS):
        x = generator(array_module(value), 0, trial).random((IMAGES, *image_shape), dtype=value.dtype)
        noise = [noise_of(model, trial, x) for model, _ in (plain, fast)]
        difference = agree(plain[0], fast[0], x, *noise)
        if not (difference and chose_differently(plain[0], fast[0])):
            break
    return difference or updates_agree(plain[1], fast[1])


def noise_of(model, trial, x):
    """The noise of a step, drawn by the model's own form; None if nothing is random."""
    return model.draw_noise(len(x), generator(array_module(x), 0, trial, 0)) if model.random else None


def agree(plain, fast, x, noise, fast_noise=None):
    """None if a forward and a backward of two models agree in the loss, its terms, every gradient and the state
    afterwards; else what differs.

    `fast_noise` is the second model's noise, drawn by its own form from the same stream.
    """
    losses = []
    for model, own in ((plain, noise), (fast, noise if fast_noise is None else fast_noise)):
        model.train()
        model.zero_grad()
        model.at_step(math.inf)  # every schedule is at its end, so that no weight is 0 only at first
        loss, terms = model.loss(x, own)
        model.backward()
        losses.append({"loss": to_host(loss)} | {f"term {name}": to_host(term) for name, term in terms.items()})
    for name, expected in losses[0].items():
        if problem := off(expected, losses[1][name], NOISE[x.dtype.name]):
            return f"has a {name} that {problem}"
    expected, found = plain.grad_dict(), fast.grad_dict()
    noise = NOISE[x.dtype.name] * max(np.abs(gradient).max(initial=0) for gradient in expected.values())
    for name, gradient in expected.items():
        if problem := off(gradient, found[name], noise):
            return f"has a gradient of {name} that {problem}"
    expected, found = plain.state_dict(), fast.state_dict()  # in which a forward moves running statistics
    for name, value in expected.items():
        if value.dtype == x.dtype and (problem := off(value, found[name])):
            return f"has a {name} that {problem}"
    return None


def updates_agree(plain, fast):
    """None if two optimisers make the same two updates from the first one's gradients; else what differs."""
    before = {name: to_host(parameter.value).copy() for name, parameter in plain.parameters.items()}
    for _ in range(2):
        for name, parameter in fast.parameters.items():
            parameter.grad = plain.parameters[name].gradient().copy()
        plain.step()
        fast.step()
    for name, start in before.items():
        expected, found = (to_host(optimizer.parameters[name].value) for optimizer in (plain, fast))
        rounding = 4 * np.finfo(start.dtype).eps * np.abs(start).max(initial=0)
        if problem := off(expected - start, found - start, rounding):
            return f"has an update of {name} that {problem}"
    expected, found = plain.state_dict(), fast.state_dict()
    for name, moment in expected.items():
        if problem := off(moment, found[name]):
            return f"has a moment {name} that {problem}"
    return None


def off(expected, found, noise=0.0):
    """By how much an array differs, in words; None if it agrees. NaN in both forms counts as equal."""
    with np.errstate(all="ignore"):
        equal = (found == expected) | (np.isnan(found) & np.isnan(expected))
        difference = np.where(equal, 0, np.abs(found - expected)).max(initial=0)
        scale = np.abs(np.where(np.isfinite(expected), expected, 0)).max(initial=0)
    if difference <= TOLERANCE[expected.dtype.name] * scale + noise:
        return None
    return f"differs by {difference:.1e} where the largest number of the plain form is {scale:.1e}"


def chose_differently(plain, fast):
    """Did two models choose other codes? Where two codes are almost equally near, rounding decides."""
    indices, other = plain.bottleneck.indices, fast.bottleneck.indices
    if indices is None:
        return False
    return any(each(lambda a, b: bool((a != b).any()), *map(listed, (indices, other))))


def listed(indices):
    """The grids of code indices of a model, as a list."""
    return indices if isinstance(indices, list) else [indices]
