"""What a speed measurement asks of PyTorch: a trainer, and its operations one by one."""

import re
from contextlib import nullcontext

import numpy as np
import torch
from torch import nn

from scratch.accelerate.cpu.memory import retain_freed_memory
from torch_ref.bottlenecks.vector_quantizer import VectorQuantizer
from torch_ref.models import build, model_options
from torch_ref.speed.clock import milliseconds, milliseconds_between
from torch_ref.training import Trainer, make_optimizer, torch_device


class SelfAttention(nn.MultiheadAttention):
    """nn.MultiheadAttention of tokens among themselves in the fewest operations: one product for queries, keys and
    values, and scaled_dot_product_attention. A mask, if there is one, is the causal one."""

    def forward(self, query, key, value, attn_mask=None, **_):
        N, T, E = query.shape
        parts = nn.functional.linear(query, self.in_proj_weight, self.in_proj_bias)
        q, k, v = parts.view(N, T, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        heads = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=attn_mask is not None)
        heads = heads.transpose(1, 2).reshape(N, T, E)
        return nn.functional.linear(heads, self.out_proj.weight, self.out_proj.bias), None


class TorchEngine:
    """PyTorch in this process, with so many threads: as it comes, or at the best that eager mode offers.

    as it comes  contiguous NCHW, Adam with foreach, glibc's own allocator setting
    best         channels-last, fused Adam, SelfAttention, and scratch's allocator setting; on a GPU cuDNN chooses by
                 trying
    """

    def __init__(self, best, threads, device="cpu", tf32=False):
        self.best, self.device = best, torch_device(device)
        if best:
            retain_freed_memory()
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = best
        torch.optim.Adam([torch.zeros(1)])  # the first one imports more of torch: the library's memory, not a step's

    def make_trainer(self, options, image_shape):
        torch.manual_seed(options["seed"])
        chosen = model_options(options["model"], options)
        model = build(options["model"], image_shape, chosen, dtype=getattr(torch, options["dtype"]))
        # On a CPU, Adam without either takes the parameters one by one; foreach is PyTorch's default elsewhere.
        optimizer = make_optimizer(model.parameters(), options, **{"fused" if self.best else "foreach": True})
        memory_format = torch.channels_last if self.best else torch.contiguous_format
        for module in model.modules():
            if self.best and type(module) is nn.MultiheadAttention:
                module.__class__ = SelfAttention
        trainer = Trainer(model, optimizer, options["seed"], options["device"], memory_format, options["lr"],
                          options["clip_norm"])
        return trainer, sum(parameter.numel() for parameter in model.parameters())

    def milliseconds(self, function):
        """How long one call takes; on a GPU between two of its events, with nothing else under way."""
        if self.device.type == "cpu":
            return milliseconds(function)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        milliseconds_between(start, end, function, torch.cuda.synchronize)
        return start.elapsed_time(end)

    def device_memory(self):
        """The most that PyTorch has held of the GPU's memory, in bytes."""
        return None if self.device.type == "cpu" else torch.cuda.max_memory_reserved(self.device)

    def workers(self, trainer):
        return 1

    def update(self, trainer):
        return trainer.optimizer.step

    def as_in_a_worker(self, workers):
        return nullcontext()

    def libraries(self):
        blas = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
        return {
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "blas": blas[1] if blas else "unknown",
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            **({} if self.device.type == "cpu" else {"cudnn": torch.backends.cudnn.version()}),
        }

    def square_product(self, size, dtype):
        a, b = (torch.randn(size, size, dtype=getattr(torch, dtype.name), device=self.device) for _ in range(2))
        out = torch.empty_like(a)
        return lambda: torch.mm(a, b, out=out)

    def operations(self, trainer, images):
        """An Operation for every leaf of the model; the gradients that the optimiser wants are there as well."""
        model, operations, hooks = trainer.model, [], []
        for name, module in model.named_modules():
            if isinstance(module, nn.MultiheadAttention) or not any(module.children()):
                operations.append(operation := Operation(name, module))
                hooks.append(module.register_forward_hook(operation.record, with_kwargs=True))
        noise = trainer.draw_noise(len(images), np.random.default_rng(0))
        model.zero_grad()
        loss, _ = model.loss(trainer.to_tensor(images), trainer.to_tensor(noise))
        loss.backward()
        for hook in hooks:
            hook.remove()
        return [operation for operation in operations if operation.recorded]  # the others' forward is never called

    def search(self, z, codebook):
        quantizer = VectorQuantizer(*codebook.shape, "normal", getattr(torch, codebook.dtype.name))
        quantizer.load_state_dict({"codebook": torch.from_numpy(codebook)})
        quantizer.to(self.device)
        # (1, D, 1, M), as channels-last as a model's own
        images = torch.from_numpy(z).to(self.device)[None, None].permute(0, 3, 1, 2)
        return lambda: quantizer.nearest(images)


def differentiable(output):
    """The tensors in a module's output that have a gradient."""
    if isinstance(output, torch.Tensor):
        return [output] if output.requires_grad else []
    if output is None:
        return []
    parts = output.values() if isinstance(output, dict) else output
    return [tensor for part in parts for tensor in differentiable(part)]


class Operation:
    """One leaf on the inputs of a real step, under random upstream gradients that lie in memory as the real ones."""

    def __init__(self, name, module):
        self.name, self.module, self.recorded = name, module, None

    def record(self, module, inputs, settings, output):
        """A forward hook: keep what the leaf is given, and once backward is there what comes from above."""
        self.places, self.settings = [id(x) for x in inputs], settings
        self.recorded = {id(x): (x.detach().clone(), x.requires_grad) for x in inputs}
        tensors = differentiable(output)
        self.gradients = [torch.randn_like(tensor) for tensor in tensors]
        for index, tensor in enumerate(tensors):
            tensor.register_hook(lambda gradient, index=index: self.keep(index, gradient))

    def keep(self, index, gradient):
        self.gradients[index] = torch.randn_like(gradient)

    def prepare(self):
        copies = {place: x.clone().requires_grad_(asked) for place, (x, asked) in self.recorded.items()}
        self.inputs = [copies[place] for place in self.places]  # what was one tensor, such as query and key, is one
        self.upstream = [gradient.clone() for gradient in self.gradients]
        self.sources = [x for x in copies.values() if x.requires_grad] + list(self.module.parameters())

    def forward(self):
        self.output = self.module(*self.inputs, **self.settings)

    def backward(self):
        torch.autograd.grad(differentiable(self.output), self.sources, self.upstream, allow_unused=True)
