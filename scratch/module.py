"""What every layer, bottleneck and model is made of: Parameter, Module, Sequential.

The contract of the whole project is two methods:

    forward(*inputs)  -> outputs           keeps in `self.saved` exactly what backward will need
    backward(*grads)  -> input gradients   adds each parameter's gradient to its `.grad`

`backward` receives ∂L/∂output and returns ∂L/∂input. It uses what forward saved once, and then frees it.
"""

import numpy as np

from scratch.arrays import array_module, to_device, to_host
from scratch.options.errors import InputError


class Parameter:
    """A value that training changes, and the gradient of the loss with respect to it.

    `to_torch` is the order of axes that turns our layout into PyTorch's; None means that the two are the same. State
    dicts use PyTorch's layout. The value has the layout that its matrix product needs.

    The value is always C-contiguous, because an optimiser writes through flat views of it. An array in another memory
    order is copied when it is assigned; any other array is kept as it is.
    """

    def __init__(self, value, to_torch=None):
        self.value = value
        self.grad = None
        self.to_torch = to_torch or tuple(range(value.ndim))

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, array):
        array_module(array)  # raises TypeError unless it is an array
        self._value = array if array.flags.c_contiguous else array.copy(order="C")

    def __repr__(self):
        return f"{type(self).__name__}({tuple(self.value.shape)}, {self.value.dtype})"

    def accumulate(self, gradient):
        """grad += gradient; a grad of None counts as zero. The parameter keeps the given array and may change it."""
        if self.grad is None:
            self.grad = gradient
        else:
            self.grad += gradient

    def gradient(self):
        """grad, or zeros while grad is None."""
        return array_module(self.value).zeros_like(self.value) if self.grad is None else self.grad

    def in_torch_layout(self, array):
        """A copy on the host, in PyTorch's layout."""
        return np.array(to_host(array).transpose(self.to_torch), order="C")

    def in_own_layout(self, array):
        """A view of an array in PyTorch's layout, in the layout of the value."""
        return array.transpose(np.argsort(self.to_torch))

    def ready_to_load(self, name, given):
        """`given`, an array in PyTorch's layout, converted to the layout, dtype and device of the value.

        Raises InputError, in which `name` stands for the array, if it is not an array or has another shape or kind of
        numbers.
        """
        expected = tuple(self.value.shape[axis] for axis in self.to_torch)
        xp, kinds = array_module(self.value), "f" if self.value.dtype.kind == "f" else "iu"
        if not is_array_of(given, np, xp):
            raise InputError(f"{name} is a {type(given).__name__}; expected a NumPy array of shape {expected}")
        if given.dtype.kind not in kinds:
            kind = "floating-point numbers" if kinds == "f" else "integers"
            raise InputError(f"{name} has dtype {given.dtype}; expected {kind}, as the model's {self.value.dtype}")
        if given.shape != expected:
            raise InputError(f"{name} has shape {tuple(given.shape)}; this model expects {expected}")
        return xp.asarray(self.in_own_layout(given).astype(self.value.dtype, copy=False))


def is_array_of(x, *modules):
    """Is x an array, or a scalar with a dtype, of one of these array modules?"""
    try:
        return array_module(x) in modules
    except TypeError:
        return False


def check_names(what, given, expected):
    """Raise InputError if `given` is not a dict with exactly the expected names; `what` says in words what it is."""
    if not isinstance(given, dict):
        raise InputError(f"{what} is a {type(given).__name__}; expected a dict of arrays by name")
    if missing := expected - given.keys():
        raise InputError(f"{what} lacks {', '.join(sorted(missing))}")
    if unknown := given.keys() - expected:
        raise InputError(f"{what} has {', '.join(sorted(map(str, unknown)))}, which this model does not know")


class elementwise(staticmethod):
    """Marks a function as an elementwise formula of a class:

        class Tanh(Module):
            derivative = elementwise(tanh_backward)

    `self.derivative(dy, y)` then calls it, as with a staticmethod. In an elementwise formula each number of the result
    depends only on the numbers at the same place, so one GPU kernel can compute the whole formula
    (accelerate/gpu/forms.py). The function may use operators, ufuncs, `where` and `clip`, but no shapes, indices or
    sums. Whatever changes from call to call has to be an argument; this includes plain numbers.
    """


class Buffer(Parameter):
    """State that belongs to a model but is not trained by gradients, such as running statistics."""


class WholeBatch:
    """What a module whose output for one example depends on the others asks of its batch; here the share is the batch.

    Replicas of a model may share a batch out among themselves (accelerate/cpu/workers.py). Each sees its own share, and
    a statistic of the batch is a sum over the shares. In backward a share receives the gradient of the whole batch's
    loss, so only the sums that forward or backward take have to be exchanged. Gradients of parameters are added up at
    the end of the step.

    writes    does this replica write the state that all replicas have in common, such as running statistics?
    """

    writes = True

    def total(self, *values):
        """For each value its sum over the shares."""
        return values

    def mean(self, value, count):
        """The mean over the batch of what has the mean `value` over the `count` rows of this share."""
        return value

    def moments(self, mean, variance, count):
        """(mean, variance, count) over the batch of what has these over this share: (D,), (D,) and a number."""
        return mean, variance, count

    def rows(self, rows, indices):
        """The rows with these indices, counted through all shares: rows (M, D), indices (K,) → (K, D)."""
        return rows[indices]


class Module:
    """Anything with a forward and a backward. Attributes that are modules, parameters or buffers are its parts."""

    training = True  # False: evaluation, in which forward saves nothing
    batch = WholeBatch()  # through it a module takes sums and means over all examples of a batch
    needs_input_gradient = True  # False on a network's first layer: ∂L/∂image is not needed
    saved = None

    def save(self, *values):
        """Keep what backward will need. In evaluation mode nothing is kept."""
        self.saved = values if self.training else None

    def recall(self):
        """What forward saved. A second call raises RuntimeError, until forward has run again."""
        if self.saved is None:
            raise RuntimeError(f"{type(self).__name__}.backward needs a forward in training mode before it: "
                               f"call forward first")
        saved, self.saved = self.saved, None
        return saved

    def __repr__(self):
        """As PyTorch prints a module: its class, its settings, and its parts, a line each."""
        parts = [f"({name}): {part!r}".replace("\n", "\n  ") for name, part in self.children()]
        lines = "".join(f"\n  {part}" for part in parts)
        return f"{type(self).__name__}({self.settings()}{lines}{chr(10) if lines else ''})"

    def settings(self):
        """The sizes that a module was made with, as `repr` shows them: here the shapes of its own parameters."""
        own = [(name, part) for name, part in vars(self).items() if isinstance(part, Parameter)]
        return ", ".join(f"{name.lstrip('_')}: {tuple(part.value.shape)}" for name, part in own)

    def children(self):
        """(name, module) of every direct part that is a module."""
        return [(name, part) for name, part in vars(self).items() if isinstance(part, Module)]

    def modules(self):
        """This module and, recursively, all of its parts. A part that is used in two places comes once."""
        found = {id(self): self}
        for _, child in self.children():
            found |= {id(module): module for module in child.modules() if id(module) not in found}
        return iter(found.values())

    def named_state(self, prefix=""):
        """{dotted name: Parameter or Buffer} of this module and all of its parts, in order of definition.

        A parameter that is used in two places, such as a tied weight, has a name for each place, as in PyTorch.
        """
        state = {prefix + name: part for name, part in vars(self).items() if isinstance(part, Parameter)}
        for name, child in self.children():
            state |= child.named_state(f"{prefix}{name}.")
        return state

    def named_parameters(self):
        """{dotted name: Parameter} of what an optimiser trains. A tied weight comes once, under its first name."""
        first = {}
        for name, part in self.named_state().items():
            if not isinstance(part, Buffer):
                first.setdefault(id(part), (name, part))
        return dict(first.values())

    def parameter_count(self):
        return sum(parameter.value.size for parameter in self.named_parameters().values())

    def zero_grad(self):
        for parameter in self.named_parameters().values():
            parameter.grad = None

    def train(self, training=True):
        """Switch the whole module to training mode (or, with False, to evaluation). Returns the module."""
        for module in self.modules():
            module.training = training
        return self

    def eval(self):
        return self.train(False)

    def to(self, device):
        """Move every parameter and buffer to "cpu", "gpu" or "gpu:N". Returns the module."""
        for part in self.named_state().values():
            part.value = to_device(part.value, device)
            part.grad = None
        return self

    def state_dict(self):
        """{name: NumPy array} in PyTorch's names and layouts. The arrays are copies: training does not change them."""
        return {name: part.in_torch_layout(part.value) for name, part in self.named_state().items()}

    def grad_dict(self):
        """{name: NumPy array} of the gradients, with the names of `named_parameters` and the layouts of `state_dict`.

        The arrays are copies. A parameter that received no gradient has zeros.
        """
        return {name: part.in_torch_layout(part.gradient()) for name, part in self.named_parameters().items()}

    def load_state_dict(self, state):
        """Write a state dict into the parameters in place, in their dtype and on their device.

        All or nothing: InputError is raised before anything is written. It is raised if a name is missing or unknown,
        if an array has another shape or kind of numbers, or if two names of one tied weight hold different values.
        """
        for part, array in self.ready_to_load(state):
            part.value[...] = array

    def ready_to_load(self, state):
        """[(Parameter or Buffer, array to write into its value)] of a state dict; raises as `load_state_dict` does."""
        own, first = self.named_state(), {}
        check_names("the state dict", state, own.keys())
        for name, part in own.items():
            array = part.ready_to_load(name, state[name])
            if id(part) not in first:
                first[id(part)] = name, part, array
                continue
            known, _, before = first[id(part)]
            if not ((before == array) | (before != before)).all():  # NaN counts as equal to itself
                raise InputError(f"{known} and {name} are one tensor in this model, but differ in the state dict: "
                                 f"give both the same values")
        return [(part, array) for _, part, array in first.values()]


class Sequential(Module):
    """y = layerₙ(… layer₁(x)); backward runs the layers' backwards in the opposite order."""

    def __init__(self, *layers):
        self.layers = list(layers)

    def children(self):
        return [(str(index), layer) for index, layer in enumerate(self.layers)]

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dy):
        for layer in reversed(self.layers):
            if dy is None:  # a later layer has needs_input_gradient = False, so no gradient reaches this one
                for module in layer.modules():
                    module.saved = None
                continue
            dy = layer.backward(dy)
        return dy
