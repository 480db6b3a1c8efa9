"""One training step in PyTorch, behind the methods of scratch's trainer: NumPy arrays, NHWC, at the border."""

import copy

import numpy as np
import torch

from data_utils import to_float
from torch_ref.losses import perplexity
from torch_ref.options import choice, complete, needing, number, schedule
from torch_ref.schedules import scheduled

OPTIONS = {
    "optimizer": choice("adam", "sgd"),
    "lr": schedule(1e-3, above=True),
    "momentum": needing("optimizer", "sgd", number(0.9)),
    "weight_decay": needing("optimizer", "adam", number(0.0)),
    "decay": needing("optimizer", "adam", choice("all", "matrices")),
}


def torch_device(name):
    """"cpu", "gpu" or "gpu:N" as a torch.device. Raises ValueError where there is no such device."""
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "gpu") or (number and (kind == "cpu" or not number.isdigit())):
        raise ValueError(f"device is {name!r}: use cpu, gpu or gpu:N")
    if kind == "cpu":
        return torch.device("cpu")
    count, index = torch.cuda.device_count(), int(number or 0)
    if index >= count:
        raise ValueError(f"device is {name!r}: PyTorch finds {count} NVIDIA GPU(s) here; choose cpu or another number")
    return torch.device("cuda", index)


def make_optimizer(parameters, options, **form):
    """The optimiser that the options of a run name: optimizer ("adam" or "sgd"), lr, momentum (SGD's), weight_decay
    (AdamW's). Those left out have the defaults of OPTIONS. `form` is passed on, such as fused=True.

    Where lr is a schedule, this is its beginning, and the trainer goes on with it. Raises ValueError for a value that
    an option does not take.
    """
    options = complete({name: options[name] for name in OPTIONS if name in options}, OPTIONS)
    lr = scheduled(options["lr"], 0)
    if options["optimizer"] == "sgd":
        return torch.optim.SGD(parameters, lr=lr, momentum=options["momentum"], **form)
    if options["weight_decay"]:
        parameters = list(parameters)
        decays = options["decay"] == "all"
        groups = [
            {"params": [p for p in parameters if decays or p.ndim > 1], "weight_decay": options["weight_decay"]},
            {"params": [p for p in parameters if not decays and p.ndim <= 1], "weight_decay": 0.0}]
        return torch.optim.AdamW([group for group in groups if group["params"]], lr=lr, **form)
    return torch.optim.Adam(parameters, lr=lr, **form)


class Trainer:
    """Drives a model of torch_ref.models with a torch.optim optimiser.

    Images and convolutions lie in memory as `memory_format` says: NCHW, or with torch.channels_last NHWC.
    lr is the learning rate or its schedule; None leaves the optimiser's own. clip_norm is the longest that the gradient
    of all parameters together may be.
    """

    def __init__(self, model, optimizer, seed, device="cpu", memory_format=torch.contiguous_format, lr=None,
                 clip_norm=None):
        self.device, self.memory_format = torch_device(device), memory_format
        # in place: the optimiser goes on holding the same parameters
        self.model = model.to(self.device, memory_format=memory_format)
        self.optimizer = optimizer
        self.seed, self.lr, self.clip_norm = seed, lr, clip_norm
        self.steps = 0
        self.moments = {"m": "exp_avg", "v": "exp_avg_sq"}  # {scratch's name: PyTorch's}
        if isinstance(optimizer, torch.optim.SGD):
            self.moments = {"velocity": "momentum_buffer"}

    def inputs(self, stored, dtype):
        """What `step` takes of stored examples: images as floats in [0, 1]; anything else as it is."""
        return to_float(stored, dtype) if self.model.has_images else stored

    @property
    def prepared_from(self):
        """How many of the first batches `prepare` wants to see."""
        return self.model.prepared_from

    def try_one(self, examples):
        """A forward in training mode that leaves no trace. Raises what the model raises."""
        copy.deepcopy(self.model).train().loss(self.to_tensor(examples))

    def prepare(self, batches):
        """Show a new model the first batches of examples, such as images (N, H, W, C)."""
        stream = np.random.SeedSequence(self.seed, spawn_key=(0, 0))
        self.model.prepare([self.to_tensor(examples) for examples in batches], np.random.default_rng(stream))

    def own(self, batch):
        """The examples of a batch that `step` takes: all of them."""
        return batch

    def agree(self, *flags):
        """The flags themselves, because one process trains."""
        return flags

    def step(self, images, epoch, step, count=None):
        """One update from images (N, H, W, C), `count` of them. Returns (terms, {level: code counts}), tensors that
        nobody has waited for."""
        stream = np.random.SeedSequence(self.seed, spawn_key=(epoch, step))
        noise = self.draw_noise(len(images), np.random.default_rng(stream))
        self.model.at_step(self.steps)
        if self.lr is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = scheduled(self.lr, self.steps)
        self.optimizer.zero_grad()
        loss, terms = self.model.loss(self.to_tensor(images), self.to_tensor(noise))
        observed = self.metrics(loss, terms)  # before the update, as the loss is
        loss.backward()
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        stream = np.random.SeedSequence(self.seed, spawn_key=(epoch, step, 0))
        self.model.update(self.to_tensor(self.model.draw_choices(np.random.default_rng(stream))))
        self.steps += 1
        return observed

    def evaluate(self, images, noise):
        """(terms with the noise given, {level: code counts}, [squared error (N,) of the deterministic reconstruction],
        or None)."""
        x = self.to_tensor(images)
        with self.model.evaluating():
            terms, counts = self.metrics(*self.model.loss(x, self.to_tensor(noise)))
            squared_errors = self.model.squared_errors(x)
        return terms, counts, None if squared_errors is None else [squared_errors]

    def metrics(self, loss, terms):
        """(metrics without their graph, {level: code counts}). The metrics are the loss, its terms, what else the model
        reports, and the perplexity of each level of codes."""
        measured, counts = self.model.observed()
        metrics = {name: value.detach() for name, value in {"loss": loss, **terms, **measured}.items()}
        for level, used in counts.items():
            metrics[f"perplexity_{level}" if level else "perplexity"] = perplexity(used)
        return metrics, counts

    def draw_noise(self, count, rng, corruption_rng=None):
        """The noise of `count` images from NumPy generators; None where the model is not random."""
        return self.model.draw_noise(count, rng, corruption_rng)

    def to_tensor(self, array):
        """A NumPy array on the device; images (N, H, W, C) become (N, C, H, W). None stays None, a list a list."""
        if array is None:
            return None
        if isinstance(array, list):
            return [self.to_tensor(part) for part in array]
        tensor = torch.from_numpy(array).to(self.device)
        if tensor.ndim == 4:
            tensor = tensor.permute(0, 3, 1, 2).contiguous(memory_format=self.memory_format)
        return tensor

    def read(self, values):
        """Tensors of no dimension as floats, with a single wait for the device."""
        return torch.stack([value.double() for value in values]).tolist() if values else []

    def read_array(self, tensor):
        return tensor.numpy(force=True)

    def state(self):
        """(weights, moments, steps): all that continuing needs, as copies in scratch's names."""
        weights = {name: copy_of(tensor) for name, tensor in self.model.state_dict().items()}
        moments = {}
        for ours, theirs in self.moments.items():
            for name, parameter in self.model.named_parameters():
                moment = self.optimizer.state.get(parameter, {}).get(theirs)
                moments[f"{ours}.{name}"] = copy_of(torch.zeros_like(parameter) if moment is None else moment)
        return weights, moments, self.steps

    def load(self, weights, moments, steps):
        """Continue from what `state` returned."""
        self.model.load_state_dict({name: torch.tensor(array) for name, array in weights.items()}, strict=True)
        for name, parameter in self.model.named_parameters():
            self.optimizer.state[parameter] = {
                theirs: torch.tensor(moments[f"{ours}.{name}"]).to(parameter) for ours, theirs in self.moments.items()
            } | {"step": torch.tensor(float(steps))}  # on the CPU, where Adam keeps its own; SGD does not look
        self.steps = steps

    def environment(self):
        """What bitwise repetition depends on."""
        return {"device": str(self.device), "torch": torch.__version__, "threads": str(torch.get_num_threads())}


def copy_of(tensor):
    """A tensor as a NumPy array that later steps do not change."""
    return np.array(tensor.numpy(force=True), order="C")
