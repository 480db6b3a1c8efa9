"""The state of a model and its optimiser: memory order, tied weights, copies, loading, pickling, modes."""

import copy
import pickle

import numpy as np
import pytest
import torch

from scratch.accelerate import accelerate, accelerate_on_gpu, accelerate_optimizer
from scratch.accelerate.cpu.workers import ParallelTrainer
from scratch.arrays import to_host
from scratch.layers import AvgPool2d, BatchNorm2d, Conv2d, Linear, ReLU
from scratch.module import Module, Parameter, Sequential
from scratch.optim import SGD, Adam
from scratch.options.errors import InputError
from scratch.schedules import Schedule
from scratch.training.trainer import Trainer
from tests.support.closeness import assert_all_close
from tests.support.cures import CURES
from tests.support.tiny import NETWORKS, images, new_model
from tests.support.variants import VARIANTS

OPTIMIZERS = {
    "adam": lambda parameters: Adam(parameters, 1e-2),
    "adamw": lambda parameters: Adam(parameters, 1e-2, weight_decay=0.1),
    "sgd": lambda parameters: SGD(parameters, 1e-2),
    "momentum": lambda parameters: SGD(parameters, 1e-2, momentum=0.9),
}
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
ORDERS = {
    "Fortran's": np.asfortranarray,
    "transposed": lambda array: array.transpose(3, 2, 0, 1).copy().transpose(2, 3, 1, 0),
    "every other": lambda array: np.repeat(array, 2, axis=0)[::2],
    "backwards": lambda array: array[::-1].copy()[::-1],
}


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


# --- memory order -----------------------------------------------------------------------------------------------------


@each_optimizer
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("gradient", ORDERS.values(), ids=ORDERS)
def test_a_value_and_a_gradient_in_any_memory_order_are_trained(optimizer, order, gradient):
    rng = np.random.default_rng(0)
    start, slope = rng.standard_normal((4, 3, 2, 5)), rng.standard_normal((4, 3, 2, 5))
    trained = []
    for arrange, arrange_gradient in ((np.array, np.array), (order, gradient)):
        layer = Conv2d(2, 5, (4, 3), dtype=np.float64, rng=rng)
        layer.weight.value = arrange(start)
        np.testing.assert_array_equal(layer.weight.value, start)
        taken = optimizer({"weight": layer.weight})
        for _ in range(3):
            layer.weight.grad = None
            for _ in range(2):
                layer.weight.accumulate(arrange_gradient(slope))
            taken.step()
        trained.append(layer.weight.value)
    assert (trained[0] != start).all()
    np.testing.assert_array_equal(*trained)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kernel_in_pytorchs_order_is_trained_by_any_number_of_workers(workers, when):
    """Every worker computes with the array that was last assigned to a parameter."""
    kernel = np.random.default_rng(0).standard_normal((16, 3, 4, 4)).astype(np.float32)
    models = []
    for arrange in (np.ascontiguousarray, np.asarray):
        model = new_model("ae")
        models.append(model)

        def assign(model=model, arrange=arrange):
            model.encoder.layers[0].weight.value = arrange(kernel.transpose(2, 3, 1, 0))

        if when == "before":
            assign()
        optimizer = Adam(model.named_parameters(), 1e-2)
        trainer = ParallelTrainer(model, optimizer, 0, workers) if workers > 1 else Trainer(model, optimizer, 0)
        if when == "after":
            assign()
        trainer.step(images(8), 1, 0)
        moved = np.abs(model.state_dict()["encoder.0.weight"] - kernel)
        assert moved.max() > 5e-3 and (moved > 0).mean() > 0.9
    same(*(model.state_dict() for model in models))
    fresh = new_model("ae")
    fresh.load_state_dict(models[0].state_dict())
    terms, _, _ = trainer.evaluate(images(8), None)
    assert float(terms["loss"]) == pytest.approx(float(fresh.eval().loss(images(8))[0]), rel=1e-5)


def test_on_a_gpu_a_value_in_any_order_is_trained(cupy):
    model = accelerate_on_gpu(new_model("ae").to("gpu"))
    weight = model.encoder.layers[0].weight
    weight.value = cupy.asarray(np.asfortranarray(to_host(weight.value)))
    assert weight.value.flags.c_contiguous
    before = to_host(weight.value).copy()
    optimizer = accelerate_optimizer(Adam(model.named_parameters(), 1e-2))
    Trainer(model, optimizer, 0, device="gpu").step(images(8), 1, 0)
    assert (np.abs(to_host(weight.value) - before) > 1e-3).mean() > 0.9


def test_an_array_in_order_is_kept_and_what_is_no_array_is_refused():
    value = np.ones((2, 3))
    parameter = Parameter(value)
    assert parameter.value is value
    with pytest.raises(TypeError, match="expected a NumPy or CuPy array, got list"):
        parameter.value = [1.0]
    assert Parameter(np.zeros((), np.int64)).value.shape == ()


# --- copies -----------------------------------------------------------------------------------------------------------


def test_a_kept_state_stays_while_training_goes_on():
    model = new_model("ae", norm="batch")
    optimizer = Adam(model.named_parameters(), 1e-2)
    trainer = Trainer(model, optimizer, 0)
    trainer.step(images(8), 1, 0)
    states = lambda: (model.state_dict(), model.grad_dict(), optimizer.state_dict())  # noqa: E731
    kept = states()
    then = copy.deepcopy(kept)
    for step in range(1, 5):
        trainer.step(images(8), 1, step)
    for ours, theirs, now in zip(kept, then, states(), strict=True):
        same(ours, theirs)
        assert all((now[name] != array).any() for name, array in ours.items() if array.ndim and np.any(array))
    own = [part.value for part in model.named_state().values()]
    assert not any(np.shares_memory(array, value) for state in states() for array in state.values() for value in own)


# --- loading ----------------------------------------------------------------------------------------------------------


def broken_states(good, name):
    """{what is wrong: (state dict, what the sentence says)}"""
    array = good[name]
    replaced = {
        "a string": ("text", "is a str"), "None": (None, "is a NoneType"), "a list": (array.tolist(), "is a list"),
        "a torch tensor": (torch.tensor(array), "is a Tensor"),
        "objects": (array.astype(object), "dtype object"), "complex": (array.astype(complex), "dtype complex128"),
        "integers": (array.astype(int), "dtype int64"), "booleans": (array != 0, "dtype bool"),
        "text": (array.astype(str), "dtype <U"), "one axis fewer": (array[0], "has shape"),
        "transposed": (array.T, "has shape"), "broadcast": (array[:1], "has shape"),
    }
    states = {what: ({**good, name: value}, f"{name} .*{says}") for what, (value, says) in replaced.items()}
    states["missing"] = {key: value for key, value in good.items() if key != name}, f"lacks {name}"
    states["unknown"] = {**good, "other": array}, "has other"
    states["a number for a name"] = {**good, 3: array}, "has 3"
    states["no dict"] = [array], "is a list"
    return states


WRONG = list(broken_states({"a": np.ones((2, 3))}, "a"))


@pytest.mark.parametrize("wrong", WRONG)
def test_a_model_loads_whole_or_not_at_all(wrong):
    model, other = new_model("ae", norm="batch", seed=0), new_model("ae", norm="batch", seed=1)
    before = model.state_dict()
    state, says = broken_states(other.state_dict(), "bottleneck.expand.weight")[wrong]
    with pytest.raises(InputError, match=says):
        model.load_state_dict(state)
    same(model.state_dict(), before)
    model.load_state_dict(other.state_dict())
    same(model.state_dict(), other.state_dict())


@pytest.mark.parametrize("given", [np.zeros((), np.float64), np.zeros((), bool), np.zeros(1, np.int64)])
def test_a_count_loads_from_integers_alone(given):
    layer = BatchNorm2d(3)
    with pytest.raises(InputError, match="num_batches_tracked has"):
        layer.load_state_dict({**layer.state_dict(), "num_batches_tracked": given})
    layer.load_state_dict({**layer.state_dict(), "num_batches_tracked": np.int32(7)})
    assert layer.num_batches_tracked.value == 7


def test_another_precision_is_converted_and_the_arrays_stay_the_models_own():
    layer = Linear(3, 2)
    value = layer.weight.value
    layer.load_state_dict({"weight": np.full((2, 3), 0.25), "bias": np.zeros(2, np.float16)})
    assert layer.weight.value is value and value.dtype == np.float32 and (value == 0.25).all()


def test_an_array_of_another_device_is_refused(cupy):
    layer = Linear(3, 2)
    before = layer.state_dict()
    with pytest.raises(InputError, match=r"^weight is a .*expected a NumPy array"):
        layer.load_state_dict({"bias": np.ones(2, np.float32), "weight": cupy.ones((2, 3), np.float32)})
    same(layer.state_dict(), before)
    layer.to("gpu").load_state_dict({name: array + 1 for name, array in before.items()})
    same(layer.state_dict(), {name: array + 1 for name, array in before.items()})


@pytest.mark.parametrize("wrong", WRONG)
def test_an_optimiser_loads_whole_or_not_at_all(wrong):
    def trained(steps):
        layer = Linear(4, 3, rng=np.random.default_rng(0))
        optimizer = Adam(layer.named_parameters())
        for _ in range(steps):
            layer.forward(np.ones((2, 4), np.float32))
            layer.backward(np.ones((2, 3), np.float32))
            optimizer.step()
        return optimizer

    optimizer, other = trained(1), trained(3)
    before = optimizer.state_dict()
    state, says = broken_states(other.state_dict(), "v.weight")[wrong]
    with pytest.raises(InputError, match=says):
        optimizer.load_state_dict(state, 3)
    for steps in (-1, 1.5, "3", None, True):
        with pytest.raises(InputError, match="an integer ≥ 0, got"):
            optimizer.load_state_dict(other.state_dict(), steps)
    same(optimizer.state_dict(), before)
    assert optimizer.steps == 1
    optimizer.load_state_dict(other.state_dict(), np.int64(3))
    same(optimizer.state_dict(), other.state_dict())
    assert optimizer.steps == 3


def test_a_trainer_whose_moments_do_not_fit_keeps_its_weights():
    models = [new_model("ae", seed) for seed in (0, 1)]
    trainer, other = (Trainer(model, Adam(model.named_parameters()), 0) for model in models)
    weights, moments, _ = other.state()
    before = trainer.model.state_dict()
    moments.pop("m.encoder.0.bias")
    with pytest.raises(InputError, match=r"lacks m\.encoder\.0\.bias"):
        trainer.load(weights, moments, 1)
    same(trainer.model.state_dict(), before)


# --- tied weights -----------------------------------------------------------------------------------------------------


class Tied(Module):
    """Two layers with one weight, and one of them with a bias of its own."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.first = Linear(4, 4, dtype=np.float64, rng=rng)
        self.relu = ReLU()
        self.second = Linear(4, 4, dtype=np.float64, rng=rng)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second.forward(self.relu.forward(self.first.forward(x)))

    def backward(self, dy):
        return self.first.backward(self.relu.backward(self.second.backward(dy)))


class TorchTied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = (torch.nn.Linear(4, 4, dtype=torch.float64) for _ in range(2))
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_a_tied_weight_is_trained_once_as_pytorch_does(kind):
    ours, theirs = Tied(), TorchTied()
    theirs.load_state_dict({name: torch.tensor(array) for name, array in ours.state_dict().items()}, strict=True)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert list(ours.named_parameters()) == [name for name, _ in theirs.named_parameters()]
    assert ours.parameter_count() == sum(parameter.numel() for parameter in theirs.parameters())
    if kind == "adam":
        optimizer, torch_optimizer = Adam(ours.named_parameters(), 1e-2), torch.optim.Adam(theirs.parameters(), 1e-2)
    else:
        optimizer = SGD(ours.named_parameters(), 1e-2, momentum=0.9)
        torch_optimizer = torch.optim.SGD(theirs.parameters(), 1e-2, momentum=0.9)
    rng = np.random.default_rng(1)
    for _ in range(5):
        x, dy = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
        ours.zero_grad()
        ours.forward(x)
        ours.backward(dy)
        torch_optimizer.zero_grad()
        theirs(torch.tensor(x)).backward(torch.tensor(dy))
        assert_all_close(ours.grad_dict(), {name: p.grad.numpy() for name, p in theirs.named_parameters()}, 1e-13)
        optimizer.step()
        torch_optimizer.step()
    assert_all_close(ours.state_dict(), {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}, 1e-12)


def test_a_tied_weight_loads_from_equal_values_under_both_names():
    model, other = Tied(), Tied()
    other.first.weight.value += 1
    model.load_state_dict(other.state_dict())
    same(model.state_dict(), other.state_dict())
    assert model.second.weight is model.first.weight
    state = other.state_dict()
    state["second.weight"] = state["second.weight"] + 1
    with pytest.raises(InputError, match=r"first\.weight and second\.weight are one tensor"):
        model.load_state_dict(state)
    same(model.state_dict(), other.state_dict())


def test_a_layer_that_stands_in_two_places_is_one():
    layer = Linear(3, 3)
    both = Sequential(layer, ReLU(), layer)
    assert [type(module) for module in both.modules()] == [Sequential, Linear, ReLU]
    assert list(both.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert list(both.named_parameters()) == ["0.weight", "0.bias"] and both.parameter_count() == 12


def test_an_optimiser_refuses_one_parameter_under_two_names():
    parameter = Parameter(np.ones(3))
    with pytest.raises(InputError, match=r"named_parameters\(\)"):
        Adam({"a": parameter, "b": parameter})


def test_what_stands_before_a_first_layer_without_an_input_gradient_is_passed_over():
    rng = np.random.default_rng(0)
    network = Sequential(AvgPool2d(2), ReLU(), Conv2d(3, 2, 3, rng=rng))
    x = rng.random((2, 8, 8, 3), np.float32)
    dy = np.ones_like(network.forward(x))
    assert network.backward(dy).shape == x.shape
    expected = network.grad_dict()
    network.zero_grad()
    network.layers[-1].needs_input_gradient = False
    network.forward(x)
    assert network.backward(dy) is None
    same(network.grad_dict(), expected)
    assert all(module.saved is None for module in network.modules())


# --- pickles ----------------------------------------------------------------------------------------------------------

SYSTEMS = {
    **{name: (name, {}) for name in ("ae", "vae", "vqvae", "vqvae2", "dvae")},
    **{f"{name}, {likelihood}": (name, {"likelihood": likelihood})
       for name, likelihood in (("ae", "gaussian"), ("vae", "bernoulli"), ("dvae", "logit_laplace"))},
    **{name: ("ae", network) for name, network in NETWORKS.items()}, **VARIANTS,
    **{f"vqvae, {name}": ("vqvae", cures) for name, cures in CURES.items()},
    "article": ("vqvae", {"straight_through": "reversed"}),
    "free bits": ("vae", {"free_bits": 0.1}),
    "capacity": ("vae", {"capacity": "linear:0:5:20", "beta": "cosine:1:2:9"}),
    "schedules": ("dvae", {"temperature": "exponential:1:0.5:9", "kl_weight": "cyclical:0:1:4"}),
}


@pytest.mark.parametrize("form", ["plain", "accelerated"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_pickled_run_trains_on_bit_for_bit(system, form):
    name, options = SYSTEMS[system]
    model = new_model(name, **options)
    if form == "accelerated":
        accelerate(model)
    optimizer = Adam(model.named_parameters(), "cosine:1e-3:1e-4:5")
    Trainer(model, optimizer, 0).step(images(8), 1, 0)
    twin, twins_optimizer = pickle.loads(pickle.dumps((model, optimizer)))
    assert type(twin) is type(model)
    for trainer in (Trainer(model, optimizer, 0), Trainer(twin, twins_optimizer, 0)):
        for step in (1, 2):
            trainer.step(images(8), 1, step)
    same(model.state_dict(), twin.state_dict())
    same(optimizer.state_dict(), twins_optimizer.state_dict())


@pytest.mark.parametrize("text", [0.5, "linear:0:1:5", "cosine:1:0:5", "exponential:1:2:5", "cyclical:0:1:4"])
def test_schedules_and_optimisers_pickle(text):
    schedule = Schedule(text)
    assert [pickle.loads(pickle.dumps(schedule))(step) for step in range(9)] == [schedule(step) for step in range(9)]
    for kind in (SGD, Adam):
        parameter = Parameter(np.ones(3))
        optimizer = kind({"w": parameter}, text)
        parameter.grad = np.ones(3)
        optimizer.step()
        twin = pickle.loads(pickle.dumps(optimizer))
        for one in (optimizer, twin):
            one.parameters["w"].grad = np.full(3, 0.5)
            one.step()
        np.testing.assert_array_equal(twin.parameters["w"].value, parameter.value)
        assert twin.lr == optimizer.lr and twin.steps == 2


# --- modes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["encode", "decode", "reconstruct", "interpolate", "variations"])
@pytest.mark.parametrize("whole", [True, False])
def test_every_part_keeps_its_mode(call, whole):
    """A frozen encoder, in evaluation mode while the rest trains, stays frozen, also if the call fails."""
    model, x = new_model("vae", norm="batch"), images(4)
    latents = model.encode(x)
    model.train(whole)
    model.encoder.train(not whole)
    model.decoder.layers[0].train(not whole)
    before = [module.training for module in model.modules()]
    assert True in before and False in before
    arguments = {"encode": (x,), "decode": (latents,), "reconstruct": (x,), "interpolate": (x, x, 2),
                 "variations": (x, 1, np.random.default_rng(0))}[call]
    getattr(model, call)(*arguments)
    assert [module.training for module in model.modules()] == before
    with pytest.raises((ValueError, TypeError)):
        getattr(model, call)(*(argument.astype(int) if isinstance(argument, np.ndarray) else argument
                               for argument in arguments))
    assert [module.training for module in model.modules()] == before
