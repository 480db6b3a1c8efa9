"""What a speed measurement asks of scratch: a trainer, its operations one by one, and its bare matrix products."""

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from scratch.accelerate import accelerate_optimizer
from scratch.accelerate.blocks import held_on
from scratch.accelerate.cpu.workers import ParallelTrainer
from scratch.arrays import array_module, device_module, each, to_device
from scratch.bottlenecks.vector_quantizer import VectorQuantizer, nearest_codes
from scratch.layers import Conv2d, ConvTranspose2d, Linear, MultiheadAttention
from scratch.losses import CrossEntropy, Reconstruction
from scratch.optim import Adam
from scratch.training.make import make_trainer
from torch_ref.speed.clock import milliseconds, milliseconds_between


class ScratchEngine:
    """Scratch in this process: on the CPU with so many BLAS threads, or on a GPU."""

    def __init__(self, threads, device="cpu"):
        threadpool_limits(threads, user_api="blas")  # a trainer with workers sets its own
        self.xp = device_module(device)
        self.measured_floor = None

    def milliseconds(self, function):
        """How long one call takes; on a GPU between two of its events, with nothing else under way."""
        if self.xp is np:
            return milliseconds(function)
        cuda = self.xp.cuda
        start, end = cuda.Event(), cuda.Event()
        milliseconds_between(start, end, function, cuda.Device().synchronize)
        return cuda.get_elapsed_time(start, end)

    def device_memory(self):
        """The most that the memory pool has held, in bytes: it gives nothing back by itself."""
        return None if self.xp is np else self.xp.get_default_memory_pool().total_bytes()

    def make_trainer(self, options, image_shape):
        return make_trainer(options, image_shape)

    def workers(self, trainer):
        """Among how many threads a trainer splits its batch."""
        return len(trainer.workers) if isinstance(trainer, ParallelTrainer) else 1

    def update(self, trainer):
        """The optimiser's step as a step of training makes it, from the gradients of the last one."""
        return trainer.update if isinstance(trainer, ParallelTrainer) else trainer.optimizer.step

    def as_in_a_worker(self, workers):
        """Several workers have one BLAS thread each; a single one has them all."""
        return threadpool_limits(1, user_api="blas") if workers > 1 else nullcontext()

    def libraries(self):
        blas = [
            {key: pool.get(key) for key in ("internal_api", "version", "architecture", "num_threads")}
            for pool in threadpool_info()
            if pool["user_api"] == "blas"
        ]
        gpu = {} if self.xp is np else {
            "cupy": self.xp.__version__, "gpu": name_of(self.xp), "driver": self.xp.cuda.runtime.driverGetVersion()}
        return {"numpy": np.__version__, "blas": blas, **gpu}

    def square_product(self, size, dtype):
        rng = np.random.default_rng(0)
        a, b = (self.xp.asarray(rng.standard_normal((size, size), dtype)) for _ in range(2))
        out = self.xp.empty_like(a)
        return lambda: self.xp.matmul(a, b, out=out)

    def operations(self, trainer, images):
        """An Operation for every leaf of the model; the gradients that the optimiser wants are there as well."""
        calls = record(trainer, images)
        return [Operation(name, leaf, calls[name]) for name, leaf in leaves(trainer.model) if name in calls]

    def floor(self, trainer, images):
        if self.measured_floor is None:
            self.measured_floor = Floor(trainer, images)
        return self.measured_floor

    def writers(self, model):
        """{whether keys and values are kept: a function that writes a row of the most probable codes}."""
        labels = np.zeros(1, np.int64)

        def choose(logits, place):
            return logits.argmax(axis=1)

        return {"kept": lambda: model.write(labels, choose),
                "not kept": lambda: write_without_memory(model, labels, choose)}

    def search(self, z, codebook):
        z, codebook = self.xp.asarray(z), self.xp.asarray(codebook)
        return lambda: nearest_codes(z, codebook, held_on(self.xp))


def write_without_memory(model, labels, choose):
    """What `CodePrior.write` gives, with a call on the whole row so far for each token, as without keys and values that
    are kept. Only the last place's logits are computed."""
    rows, vectors = [], []
    with model.evaluating():
        vectors.append(model.start.forward(labels[:, None]))
        for part, stretch in model.stretches():
            written = []
            for at in range(stretch.start, stretch.stop):
                y = np.concatenate(vectors, axis=1)
                for block in model.blocks.layers:
                    y = block.forward(y)
                logits = part.head.forward(model.norm.forward(y[:, -1:]))[:, -1]
                written.append(part.after(choose(logits, at), written))
                vectors.append(part.embed_one(written[-1], at - stretch.start))
            rows += written
    return np.stack(rows, axis=1)


def name_of(cupy):
    """The name of the current GPU."""
    return cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()


def is_array(value):
    return isinstance(value, np.ndarray) or type(value).__module__.partition(".")[0] == "cupy"


def leaves(module, prefix=""):
    """(dotted name, module) of every module without parts that has a forward, and of attention, which multiplies by
    weights of its own beside those of its part. What cares for a codebook has no forward."""
    children = [] if isinstance(module, MultiheadAttention) else module.children()
    if not children and hasattr(module, forward_name(module)):
        yield prefix.removesuffix("."), module
    for name, child in children:
        yield from leaves(child, f"{prefix}{name}.")


def forward_name(leaf):
    """A likelihood's forward is called `loss`, that of a cross-entropy `elements`."""
    return "loss" if isinstance(leaf, Reconstruction) else "elements" if isinstance(leaf, CrossEntropy) else "forward"


def copied(value):
    """A copy of an array in the order that its axes have in memory; anything else as it is."""
    return value.copy(order="K") if is_array(value) else value


def randomized(value, rng):
    """Random numbers in an array's place, of its dtype and in its memory order; anything else as it is."""
    if not is_array(value):
        return value
    value = copied(value)
    value[...] = array_module(value).asarray(rng.standard_normal(value.shape, value.dtype))
    return value


@dataclass
class Call:
    """What a leaf is given and gives back in one step."""

    inputs: tuple
    output_shape: tuple | None
    upstream: tuple | None = None


def record(trainer, images):
    """{name: Call} of every leaf in one forward and backward, which leaves the gradients in the parameters."""
    model, rng, images = trainer.model, np.random.default_rng(0), to_device(images, trainer.device)
    calls, wrapped = {}, []

    def wrap(leaf, method, keep):
        inner = getattr(leaf, method)

        def outer(*arguments):
            kept = tuple(map(copied, arguments))  # before the call: an operation may work in place
            result = inner(*arguments)
            keep(kept, result)
            return result

        setattr(leaf, method, outer)
        wrapped.append((leaf, method))

    for name, leaf in leaves(model):
        def keep_inputs(inputs, output, name=name):
            calls[name] = Call(inputs, getattr(output[0] if isinstance(output, tuple) else output, "shape", None))

        def keep_upstream(upstream, _, name=name):
            calls[name].upstream = tuple(randomized(gradient, rng) for gradient in upstream)

        wrap(leaf, forward_name(leaf), keep_inputs)
        if hasattr(leaf, "backward"):
            wrap(leaf, "backward", keep_upstream)
    try:
        model.train()
        model.zero_grad()
        noise = trainer.draw_noise(len(images), rng)
        model.loss(images, None if noise is None else each(lambda part: to_device(part, trainer.device), noise))
        model.backward()
    finally:
        for leaf, method in wrapped:
            delattr(leaf, method)
    return calls


class Operation:
    """One leaf on the inputs of a real step, under a random upstream gradient that lies in memory as the real one."""

    def __init__(self, name, leaf, call):
        self.name, self.leaf, self.call = name, leaf, call

    def prepare(self):
        """Fresh copies, for an operation may work in place, and no gradient yet, as at the start of a step."""
        self.leaf.train()
        self.leaf.zero_grad()
        self.inputs = tuple(map(copied, self.call.inputs))
        self.upstream = self.call.upstream and tuple(map(copied, self.call.upstream))

    def forward(self):
        self.output = getattr(self.leaf, forward_name(self.leaf))(*self.inputs)

    def backward(self):
        if self.upstream is not None:
            self.leaf.backward(*self.upstream)


@dataclass
class Products:
    """The matrix products of one layer that computes Y = X W, with X (M, K), W (K, N), Y (M, N).

    Forward X W; backward Xᵀ ∂L/∂Y and, where somebody asks for the input gradient, ∂L/∂Y Wᵀ. The search for the
    nearest codes is X W alone, with the codebook as Wᵀ and a block of rows of X at a time.
    """

    name: str
    M: int
    K: int
    N: int
    needs_input_gradient: bool = True
    is_search: bool = False

    @property
    def flops(self):
        """2·M·K·N for each product."""
        return 2 * self.M * self.K * self.N * (1 if self.is_search else 2 + self.needs_input_gradient)

    def sizes(self):
        return {"M": self.M, "K": self.K, "N": self.N}

    def allocate(self, xp, dtype, rng):
        """Y holds the result of the forward, and stands for ∂L/∂Y in the backward."""
        M, K, N = self.M, self.K, self.N
        self.rows = max(1, held_on(xp) // N) if self.is_search else M
        self.X = xp.asarray(rng.standard_normal((M, K), dtype))
        W = xp.asarray(rng.standard_normal((N, K) if self.is_search else (K, N), dtype))
        self.W = W.T if self.is_search else W
        self.Y = xp.empty((min(self.rows, M), N), dtype)
        self.dW, self.dX = xp.empty((K, N), dtype), xp.empty((M, K), dtype)

    def forward(self):
        for start in range(0, self.M, self.rows):
            X = self.X[start : start + self.rows]
            array_module(X).matmul(X, self.W, out=self.Y[: len(X)])

    def backward(self):
        if self.is_search:
            return
        xp = array_module(self.X)
        xp.matmul(self.X.T, self.Y, out=self.dW)
        if self.needs_input_gradient:
            xp.matmul(self.Y, self.W.T, out=self.dX)


@dataclass
class ProductsOfAttention:
    """The matrix products of attention: X W_in, Q Kᵀ and P V for each head, O W_out, and in the backward two for each
    of them. Each query is multiplied with all T keys."""

    name: str
    N: int
    T: int
    E: int
    heads: int
    needs_input_gradient: bool = True

    def __post_init__(self):
        M, E = self.N * self.T, self.E
        self.projections = [Products("in", M, E, 3 * E, self.needs_input_gradient), Products("out", M, E, E)]

    @property
    def flops(self):
        return sum(part.flops for part in self.projections) + 3 * 2 * (2 * self.N * self.T * self.T * self.E)

    def sizes(self):
        return {"N": self.N, "T": self.T, "E": self.E, "heads": self.heads}

    def allocate(self, xp, dtype, rng):
        for part in self.projections:
            part.allocate(xp, dtype, rng)
        shape = (self.N, self.heads, self.T, self.E // self.heads)
        self.Q, self.K, self.V = (xp.asarray(rng.standard_normal(shape, dtype)) for _ in range(3))
        self.P, self.O = xp.empty((*shape[:2], self.T, self.T), dtype), xp.empty(shape, dtype)

    def forward(self):
        """The arrays of the last product stand for the results of all: no time depends on what is in them."""
        xp, (projection_in, projection_out) = array_module(self.Q), self.projections
        projection_in.forward()
        xp.matmul(self.Q, self.K.swapaxes(2, 3), out=self.P)
        xp.matmul(self.P, self.V, out=self.O)
        projection_out.forward()

    def backward(self):
        xp, (projection_in, projection_out) = array_module(self.Q), self.projections
        projection_out.backward()
        xp.matmul(self.Q, self.K.swapaxes(2, 3), out=self.P)
        for P in (self.P.swapaxes(2, 3), self.P, self.P.swapaxes(2, 3)):
            xp.matmul(P, self.V, out=self.O)
        projection_in.backward()


def layer_products(name, leaf, call):
    """The products of a leaf as scratch's plain layers compute it; None of one that multiplies no matrices."""
    (x, *_), y = call.inputs, call.output_shape
    if isinstance(leaf, MultiheadAttention):
        return ProductsOfAttention(name, *x.shape, leaf.num_heads, leaf.needs_input_gradient)
    if isinstance(leaf, Conv2d):
        *window, O = leaf.weight.value.shape
        return Products(name, int(np.prod(y[:-1])), int(np.prod(window)), O, leaf.needs_input_gradient)
    if isinstance(leaf, ConvTranspose2d):
        C, *window = leaf.weight.value.shape
        return Products(name, x.size // C, C, int(np.prod(window)), leaf.needs_input_gradient)
    if isinstance(leaf, Linear):
        C, O = leaf.weight.value.shape
        return Products(name, x.size // C, C, O, leaf.needs_input_gradient)
    if isinstance(leaf, VectorQuantizer):
        codes, code_dim = leaf.codebook.value.shape
        return Products(name, x.size // code_dim, code_dim, codes, is_search=True)
    return None


class Floor:
    """What a step cannot do without: its matrix products at their real shapes, into memory that is there already, and
    one pass of Adam, block by block; on a GPU in one kernel a parameter.

    The flops are those of convolution by im2col: an algorithm that needs fewer can get below this floor, and above
    the peak of the machine.
    """

    def __init__(self, trainer, images):
        calls = record(trainer, images)
        every = [layer_products(name, leaf, calls[name]) for name, leaf in leaves(trainer.model) if name in calls]
        self.layers = [products for products in every if products]
        parameters, rng = trainer.model.named_parameters(), np.random.default_rng(0)
        self.optimizer = accelerate_optimizer(Adam(parameters))
        for products in self.layers:
            products.allocate(trainer.xp, next(iter(parameters.values())).value.dtype, rng)

    def describe(self):
        return [{"name": layer.name, **layer.sizes(), "flops": layer.flops} for layer in self.layers]

    def measure(self, milliseconds):
        """One pass in the order of a step: forward, backward from the last layer to the first, the optimiser."""
        times = {layer.name: {"forward": milliseconds(layer.forward)} for layer in self.layers}
        for layer in reversed(self.layers):
            times[layer.name]["backward"] = milliseconds(layer.backward)
        return {"products": times, "optimizer": milliseconds(self.optimizer.step)}
