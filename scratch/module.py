"""What every layer, bottleneck and model is made of: Parameter, Module, Sequential.

The contract of the whole project is two methods:

    forward(*inputs)  -> outputs           keeps in `self.saved` exactly what backward will need
    backward(*grads)  -> input gradients   adds each parameter's gradient to its `.grad`

`backward` is handed ∂L/∂output and returns ∂L/∂input. It uses what forward saved once and lets go of it.
"""

import numpy as np

from scratch.arrays import array_module, to_device, to_host


class Parameter:
    """A value that training changes, and the gradient of the loss with respect to it.

    `to_torch` is the order of axes that turns our layout into PyTorch's (None: the same), so that a state dict
    can speak PyTorch's layouts while the value keeps the one its matrix product wants.
    """

    def __init__(self, value, to_torch=None):
        self.value = value
        self.grad = None
        self.to_torch = to_torch or tuple(range(value.ndim))

    def accumulate(self, gradient):
        """grad += gradient, where no gradient yet counts as zero. The array given now belongs to the parameter."""
        if self.grad is None:
            self.grad = gradient
        else:
            self.grad += gradient

    def gradient(self):
        """grad, or zeros where none has flowed."""
        return array_module(self.value).zeros_like(self.value) if self.grad is None else self.grad

    def in_torch_layout(self, array):
        return np.asarray(to_host(array).transpose(self.to_torch), order="C")

    def in_own_layout(self, array):
        return array.transpose(np.argsort(self.to_torch))


class Buffer(Parameter):
    """State that belongs to a model but is not trained by gradients, such as running statistics."""


class Module:
    """Anything with a forward and a backward; its attributes that are modules, parameters or buffers are its parts."""

    training = True  # False: evaluation, in which forward saves nothing
    couples_examples = False  # True where one example's output depends on the others in its batch
    needs_input_gradient = True  # False on a network's first layer: nobody asks for ∂L/∂image
    saved = None

    def save(self, *values):
        """Keep what backward will need. In evaluation mode nothing is kept."""
        self.saved = values if self.training else None

    def recall(self):
        """What forward saved, once."""
        if self.saved is None:
            raise RuntimeError(f"{type(self).__name__}.backward needs a forward in training mode before it")
        saved, self.saved = self.saved, None
        return saved

    def children(self):
        """(name, module) of every direct part that is a module."""
        return [(name, part) for name, part in vars(self).items() if isinstance(part, Module)]

    def modules(self):
        """This module and, recursively, all of its parts."""
        yield self
        for _, child in self.children():
            yield from child.modules()

    def named_state(self, prefix=""):
        """{dotted name: Parameter or Buffer} of this module and all of its parts, in order of definition."""
        state = {prefix + name: part for name, part in vars(self).items() if isinstance(part, Parameter)}
        for name, child in self.children():
            state |= child.named_state(f"{prefix}{name}.")
        return state

    def named_parameters(self):
        """{dotted name: Parameter}: what an optimiser trains."""
        return {name: part for name, part in self.named_state().items() if not isinstance(part, Buffer)}

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
        """{name: NumPy array} in PyTorch's names and layouts."""
        return {name: part.in_torch_layout(part.value) for name, part in self.named_state().items()}

    def grad_dict(self):
        """The gradients, in the names and layouts of `state_dict`; zeros where nothing flowed."""
        return {
            name: part.in_torch_layout(part.gradient()) for name, part in self.named_parameters().items()
        }

    def load_state_dict(self, state):
        """Write a state dict into the parameters in place, in their dtype and on their device.

        Raises ValueError, before anything is written, when a name is missing, unknown, or of another shape.
        """
        own = self.named_state()
        if missing := own.keys() - state.keys():
            raise ValueError(f"the state dict lacks {', '.join(sorted(missing))}")
        if unknown := state.keys() - own.keys():
            raise ValueError(f"the state dict has {', '.join(sorted(unknown))}, which this model does not know")
        for name, part in own.items():
            expected = tuple(part.value.shape[axis] for axis in part.to_torch)
            if state[name].shape != expected:
                raise ValueError(f"{name} has shape {tuple(state[name].shape)}; this model expects {expected}")
        for name, part in own.items():
            part.value[...] = array_module(part.value).asarray(part.in_own_layout(state[name]))


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
            dy = layer.backward(dy)
        return dy
