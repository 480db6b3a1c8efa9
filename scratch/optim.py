"""Optimisers. Each holds the parameters by name, and its state by the same names."""

from scratch.arrays import array_module, is_integer
from scratch.module import check_names, elementwise
from scratch.options.errors import InputError
from scratch.options.option import Choice, Option, Real, Scheduled
from scratch.schedules import Schedule


class Optimizer:
    """Updates named parameters from their gradients; `state` is {moment name: {parameter name: array}}.

    lr is a number or a schedule (schedules.py). With a clip_norm, the gradients dθ of all parameters, taken as one
    vector, are shortened before each update where they are longer:

        dθ ← dθ · min(1, clip_norm / ‖dθ‖)       (Pascanu et al. 2013, arXiv:1211.5063)
    """

    moments = ()

    def __init__(self, parameters, lr, clip_norm=None):
        if len({id(parameter) for parameter in parameters.values()}) < len(parameters):
            raise InputError("an optimiser was given one parameter under several names, and would update it several "
                             "times: give it Module.named_parameters(), which has each parameter once")
        self.parameters = dict(parameters)
        self.schedule, self.clip_norm = Schedule(lr), clip_norm
        self.steps = 0
        self.state = {
            moment: {name: array_module(p.value).zeros_like(p.value) for name, p in parameters.items()}
            for moment in self.moments
        }

    @property
    def lr(self):
        """The learning rate of the latest update; before any update, that of the first."""
        return self.schedule(max(self.steps - 1, 0))

    def step(self):
        """One update. A parameter that received no gradient counts as having a gradient of zero."""
        self.steps += 1
        self.clip([p.grad for p in self.parameters.values() if p.grad is not None])
        for name, parameter in self.parameters.items():
            moments = (self.state[moment][name] for moment in self.moments)
            self.update(name, parameter.value, parameter.gradient(), *moments)

    def clip(self, gradients):
        """Shorten the gradients in place, taken as one vector, to a length of at most clip_norm, if there is one."""
        if self.clip_norm is not None and gradients:
            factor = shortening(sum((gradient * gradient).sum() for gradient in gradients), self.clip_norm)
            for gradient in gradients:
                gradient *= factor

    def update(self, name, value, gradient, *moments):
        """The rule itself, in place, on the parameter of this name, or a piece of it, its gradient and its moments."""
        raise NotImplementedError

    def state_dict(self):
        """{"moment.parameter name": NumPy array}, copies in PyTorch's layouts, like the parameters' state dict."""
        return {
            f"{moment}.{name}": self.parameters[name].in_torch_layout(array)
            for moment, arrays in self.state.items()
            for name, array in arrays.items()
        }

    def load_state_dict(self, state, steps):
        """Write the moments back in place and set the number of steps taken.

        All or nothing: InputError is raised before anything is written. It is raised if a name is missing or unknown,
        if an array has another shape or kind of numbers, or if steps is not an integer ≥ 0.
        """
        for array, given in self.ready_to_load(state, steps):
            array[...] = given
        self.steps = int(steps)

    def ready_to_load(self, state, steps):
        """[(moment, array to write into it)] of a state dict; raises as `load_state_dict` does."""
        own = {f"{moment}.{name}": (array, self.parameters[name])
               for moment, arrays in self.state.items() for name, array in arrays.items()}
        check_names("the optimiser's state", state, own.keys())
        if not is_integer(steps) or steps < 0:
            raise InputError(f"the number of steps made has to be an integer ≥ 0, got {steps!r}")
        return [(array, parameter.ready_to_load(name, state[name])) for name, (array, parameter) in own.items()]


def shortening(squares, clip_norm):
    """min(1, clip_norm / √squares): the factor that brings a vector of this squared length to at most clip_norm.

    As in PyTorch, 1e-6 is added to the length.
    """
    xp = array_module(squares)
    return xp.minimum(1, clip_norm / (xp.sqrt(squares) + 1e-6))


def sgd(theta, dtheta, velocity, momentum, lr):
    """velocity ← momentum · velocity + dθ,   θ ← θ − lr · velocity."""
    velocity *= momentum
    velocity += dtheta
    theta -= lr * velocity


class SGD(Optimizer):
    """velocity ← momentum · velocity + dθ,       θ ← θ − lr · velocity.       (Polyak 1964, in PyTorch's form)

    dθ is the gradient ∂L/∂θ.
    """

    moments = ("velocity",)
    options = (Option("momentum", Real(0), 0.9, "the share of the velocity that a step keeps"),)
    rule = elementwise(sgd)

    def __init__(self, parameters, lr=1e-2, momentum=0.0, *, clip_norm=None):
        super().__init__(parameters, lr, clip_norm)
        self.momentum = momentum

    def update(self, name, value, gradient, velocity):
        self.rule(value, gradient, velocity, self.momentum, self.lr)


def adam(theta, dtheta, m, v, beta1, rest1, beta2, rest2, correction1, correction2, lr, eps, kept):
    """Adam's rule with restᵢ = 1 − βᵢ, correctionᵢ = 1 − βᵢᵗ and kept = 1 − lr·weight_decay, None without decay."""
    m *= beta1
    m += rest1 * dtheta
    v *= beta2
    v += rest2 * (dtheta * dtheta)
    if kept is not None:
        theta *= kept
    theta -= lr * (m / correction1) / (array_module(v).sqrt(v / correction2) + eps)


class Adam(Optimizer):
    """Adam with bias correction; with a weight_decay above 0 it is AdamW, with decay="matrices" for matrices alone.

        m ← β₁ m + (1 − β₁) dθ           m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) dθ²          v̂ = v / (1 − β₂ᵗ)
        θ ← θ − lr · weight_decay · θ − lr · m̂ / (√v̂ + eps)

    dθ is the gradient ∂L/∂θ, and t counts the steps from 1. A decay pulls weights towards 0, where they do nothing.
    Biases and the scales of norms, which have a single axis, are often spared.
    (Kingma & Ba 2015, arXiv:1412.6980; AdamW: Loshchilov & Hutter 2019, arXiv:1711.05101)
    """

    moments = ("m", "v")
    options = (Option("weight_decay", Real(0), 0.0, "weight decay, apart from the gradient: AdamW",
                      source="arXiv:1711.05101"),
               Option("decay", Choice(("all", "matrices")), "all", "what decays: all parameters, or only those with "
                      "more than one axis"))
    rule = elementwise(adam)

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decay="all", *,
                 clip_norm=None):
        super().__init__(parameters, lr, clip_norm)
        self.betas, self.eps, self.weight_decay, self.decay = betas, eps, weight_decay, decay

    def decay_of(self, name):
        """The weight decay of the parameter of this name."""
        decays = self.decay == "all" or self.parameters[name].value.ndim > 1
        return self.weight_decay if decays else 0.0

    def update(self, name, value, gradient, m, v):
        (beta1, beta2), t = self.betas, self.steps
        decay = self.decay_of(name)
        kept = 1 - self.lr * decay if decay else None
        self.rule(value, gradient, m, v, beta1, 1 - beta1, beta2, 1 - beta2, 1 - beta1**t, 1 - beta2**t, self.lr,
                  self.eps, kept)


OPTIMIZERS = {"adam": Adam, "sgd": SGD}
OPTIMIZER = Option("optimizer", Choice(OPTIMIZERS), "adam", "the update rule", source="arXiv:1412.6980")
LR = Option("lr", Scheduled(0, included=False), 1e-3, "learning rate")
CLIP_NORM = Option("clip_norm", Real(0, included=False), None, "shorten the gradients of a step to this length, all "
                   "parameters taken together; none: leave them as they are", source="arXiv:1211.5063")


def make_optimizer(parameters, options):
    """The optimiser that the options of a run name, over {name: Parameter}; what is left out has its default. Raises
    InputError for an unknown name, and for a value of another kind."""
    def value(option):
        return option.check(options.get(option.name, option.default))

    kind = OPTIMIZERS[value(OPTIMIZER)]
    return kind(parameters, value(LR), **{option.name: value(option) for option in (*kind.options, CLIP_NORM)})
