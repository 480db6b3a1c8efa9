"""`python -m scratch gradcheck` with a second check beside finite differences: PyTorch's autograd.

For every case of scratch/gradcheck/cases the operation has a reference in PyTorch, which receives the same tensors
and the same upstream gradients. The new column is the largest difference between the hand-written gradient and
autograd's, relative to the largest magnitude in autograd's.

The reference is an entry of REFERENCES, where the operation is written once more and differently from its twin; else
torch.nn's module of the same name; else its twin in torch_ref. So a new bottleneck needs no entry here.
"""

import inspect
import math

import torch
import torch.nn.functional as F

import torch_ref.bottlenecks
import torch_ref.layers  # noqa: F401  (so that `twin` finds what is defined there)
from scratch.commands import gradcheck
from scratch.commands.gradcheck import add_arguments  # noqa: F401  (the command takes the same arguments)
from scratch.gradcheck import table

BOUND = 1e-12


def nchw(x):
    """PyTorch's layout of an image (N, H, W, C); a matrix stays as it is."""
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def nhwc(x):
    """Our layout of a feature map (N, C, H, W); a matrix stays as it is."""
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x


def mean_of_sums(values):
    """Summed inside each example, averaged over the batch."""
    return values.flatten(1).sum(1).mean()


# Each function below maps (arguments of the case, tensors t by name, constants c by name) to {output name: tensor}.
# Inputs come as (N, H, W, C), parameters in PyTorch's layout.


def conv2d(arguments, t, c):
    """y = conv(x): PyTorch's own."""
    y = F.conv2d(nchw(t["x"]), t["weight"].permute(3, 2, 0, 1), t["bias"], arguments["stride"], arguments["padding"])
    return {"y": nhwc(y)}


def conv_transpose2d(arguments, t, c):
    """y = transposed conv(x): PyTorch's own."""
    weight = t["weight"].permute(0, 3, 1, 2)
    y = F.conv_transpose2d(nchw(t["x"]), weight, t["bias"], arguments["stride"], arguments["padding"])
    return {"y": nhwc(y)}


def batch_norm(arguments, t, c):
    """By the batch; torch.nn's own would want the running statistics as well."""
    eps = arguments.get("eps", 1e-5)
    return {"y": nhwc(F.batch_norm(nchw(t["x"]), None, None, t["weight"], t["bias"], training=True, eps=eps))}


def reparameterize(arguments, t, c):
    """z = μ + σ·ε, with σ = √exp(logvar)."""
    return {"z": t["mu"] + t["logvar"].exp().sqrt() * c["eps"]}


def gaussian_kl(arguments, t, c):
    """KL(N(μ, σ²) ‖ N(0, 1)), as torch.distributions computes it."""
    posterior = torch.distributions.Normal(t["mu"], t["logvar"].exp().sqrt())
    prior = torch.distributions.Normal(torch.zeros_like(t["mu"]), torch.ones_like(t["mu"]))
    return {"kl": mean_of_sums(torch.distributions.kl_divergence(posterior, prior))}


def free_bits(arguments, t, c):
    """kl = Σⱼ klⱼ and kl_free = Σⱼ max(free_bits, klⱼ)."""
    variance = t["logvar"].exp()
    k = (-0.5 * (1 + t["logvar"] - t["mu"] ** 2 - variance)).mean(0)
    return {"kl": k.sum(), "kl_free": F.threshold(k, arguments["nats"], arguments["nats"]).sum()}


def capacity_target(arguments, t, c):
    """gap = |kl − C|."""
    return {"gap": F.l1_loss(t["kl"], torch.full_like(t["kl"], arguments["capacity"]), reduction="none")}


def vector_quantizer(arguments, t, c):
    """q = e_k straight through, and the terms of the codebook and of the commitment."""
    z, codebook = t["z"], t["codebook"]
    indices = torch.cdist(z.detach().flatten(0, -2), codebook.detach()).argmin(1)
    quantized = codebook[indices].reshape(z.shape)
    return {
        "q": z + (quantized - z).detach(),
        "codebook": mean_of_sums((z.detach() - quantized) ** 2),
        "commitment": mean_of_sums((z - quantized.detach()) ** 2),
    }


def unit_length(arguments, t, c):
    """y = x / ‖x‖."""
    return {"y": F.normalize(t["x"], dim=-1)}


def soft_assignment_entropy(arguments, t, c):
    """gap = KL(p̄ ‖ uniform), which is log K − H(p̄)."""
    distances = (t["z"].unsqueeze(1) - t["codes"]).square().sum(-1)
    use = torch.distributions.Categorical(F.softmax(-distances / arguments["temperature"], -1).mean(0))
    uniform = torch.distributions.Categorical(torch.ones_like(use.probs))
    return {"gap": torch.distributions.kl_divergence(use, uniform)}


def cured_vector_quantizer(arguments, t, c):
    """The quantizer with the cures that the arguments name."""
    codebook = t["codebook"] if "codebook" in t else c["codebook"]
    z = t["z"]
    if "cosine" in arguments:
        z, codebook = F.normalize(z, dim=-1), F.normalize(codebook, dim=-1)
    outputs = vector_quantizer(arguments, {"z": z, "codebook": codebook}, c)
    if "ema_decay" in arguments:
        del outputs["codebook"]
    if "entropy_temperature" in arguments:
        tensors = {"z": z.flatten(0, -2), "codes": codebook}
        temperature = arguments["entropy_temperature"]
        outputs["entropy_gap"] = soft_assignment_entropy({"temperature": temperature}, tensors, c)["gap"]
    return outputs


def reversed_vector_quantizer(arguments, t, c):
    """q = z in forward, e_k in backward: the straight-through line the wrong way round."""
    z, codebook = t["z"], t["codebook"]
    q = codebook[torch.cdist(z.detach().flatten(0, -2), codebook.detach()).argmin(1)].reshape(z.shape)
    q = q + (z - q).detach()
    return {
        "q": q, "codebook": mean_of_sums((z.detach() - q) ** 2), "commitment": mean_of_sums((z - q.detach()) ** 2)}


def l1(arguments, t, c):
    """l1 = (1/N) Σ |z|."""
    return {"l1": mean_of_sums(t["z"].abs())}


def concatenate(arguments, t, c):
    """y = [a, b]."""
    return {"y": torch.cat([t["a"], t["b"]], dim=-1)}


def gumbel_softmax(arguments, t, c):
    """y = softmax((a + g) / τ), or its one-hot vector straight through."""
    y = torch.softmax((t["logits"] + c["noise"]) / arguments["temperature"], dim=-1)
    if arguments.get("hard"):
        one_hot = F.one_hot(y.argmax(-1), y.shape[-1])
        y = one_hot + y - y.detach()
    return {"y": y}


def categorical_kl(arguments, t, c):
    """KL(softmax(a) ‖ uniform), as torch.distributions computes it."""
    uniform = torch.distributions.Categorical(logits=torch.zeros_like(t["logits"]))
    posterior = torch.distributions.Categorical(logits=t["logits"])
    return {"kl": mean_of_sums(torch.distributions.kl_divergence(posterior, uniform))}


def code_mixture(arguments, t, c):
    """q = y E."""
    return {"q": torch.einsum("...k,kd->...d", t["y"], t["weight"])}


def logit_laplace(arguments, t, c):
    """The density as the paper writes it, with b bounded from below."""
    mu, s = t["output"].chunk(2, dim=-1)
    b = s.exp() + 2 * 0.8 / 255
    x = 0.8 * c["target"] + 0.1
    density = torch.exp(-(torch.logit(x) - mu).abs() / b) / (2 * b * x * (1 - x))
    return {"loss": mean_of_sums(-density.log())}


def discretized_logistic(arguments, t, c):
    """The difference of the distribution function at the ends of each bin, the outer two without end."""
    mu, s = t["output"].chunk(2, dim=-1)
    scale, v = s.exp() + math.exp(-7) / 2, torch.round(255 * c["target"])
    above = torch.where(v == 255, 1, torch.sigmoid((v / 255 + 0.5 / 255 - mu) / scale))
    below = torch.where(v == 0, 0, torch.sigmoid((v / 255 - 0.5 / 255 - mu) / scale))
    return {"loss": mean_of_sums(-(above - below).log())}


def categorical(arguments, t, c):
    """−log of the probabilities of torch.distributions."""
    logits = t["output"].unflatten(-1, (c["target"].shape[-1], 256))
    greys = torch.round(255 * c["target"])
    return {"loss": mean_of_sums(-torch.distributions.Categorical(logits=logits).log_prob(greys))}


def gaussian(arguments, t, c):
    """−log of the density; PyTorch's loss takes the variance."""
    variance = ((t["log_sigma"].exp() + math.exp(-6)) ** 2).expand_as(c["target"])
    total = F.gaussian_nll_loss(t["output"], c["target"], variance, full=True, eps=0, reduction="sum")
    return {"loss": total / len(c["target"])}


def squared_error(arguments, t, c):
    """(1/N) Σ (y − x)²."""
    return {"loss": F.mse_loss(t["output"], c["target"], reduction="sum") / len(c["target"])}


def bernoulli_from_logits(arguments, t, c):
    """The binary cross-entropy of logits, summed over an image."""
    total = F.binary_cross_entropy_with_logits(t["output"], c["target"], reduction="sum")
    return {"loss": total / len(c["target"])}


def embedding(arguments, t, c):
    """y = E[x]."""
    return {"y": F.embedding(c["x"], t["weight"])}


def dropout(arguments, t, c):
    """y = x · [u ≥ p] / (1 − p); PyTorch's own draws u itself."""
    kept = c["noise"] >= arguments["p"]
    return {"y": torch.where(kept, t["x"] / (1 - arguments["p"]), 0.0)}


def linear_of_tokens(arguments, t, c):
    """y = x W + b for each vector of the last axis."""
    return {"y": F.linear(t["x"], t["weight"], t["bias"])}


def softmax(arguments, t, c):
    """y = softmax(x) over the last axis."""
    return {"y": F.softmax(t["x"], -1)}


def layer_norm(arguments, t, c):
    """Each vector by its own mean and variance."""
    return {"y": F.layer_norm(t["x"], t["weight"].shape, t["weight"], t["bias"], arguments.get("eps", 1e-5))}


def multihead_attention(arguments, t, c):
    """torch.nn's, of one sequence with itself."""
    x = t["x"]
    module = torch.nn.MultiheadAttention(
        arguments["embed_dim"], arguments["num_heads"], bias=arguments.get("bias", True), batch_first=True,
        dtype=x.dtype)
    hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1) if arguments.get("causal") else None
    weights = {name: t[name] for name, _ in module.named_parameters()}
    settings = dict(attn_mask=hidden, need_weights=False)
    return {"y": torch.func.functional_call(module, weights, (x, x, x), settings, strict=True)[0]}


def cross_entropy(arguments, t, c):
    """−log of the labels' probabilities, summed over an example."""
    weight = torch.tensor(arguments["weight"], dtype=t["logits"].dtype) if "weight" in arguments else None
    loss = F.cross_entropy(t["logits"].flatten(0, -2), c["target"].flatten(), weight, reduction="sum")
    return {"loss": loss / len(c["target"])}


REFERENCES = {
    "conv2d_definition": conv2d,
    "conv_transpose2d_definition": conv_transpose2d,
    "BatchNorm2d": batch_norm,
    "Reparameterize": reparameterize,
    "GaussianKL": gaussian_kl,
    "FreeBits": free_bits,
    "CapacityTarget": capacity_target,
    "VectorQuantizer": vector_quantizer,
    "GumbelSoftmax": gumbel_softmax,
    "CategoricalKL": categorical_kl,
    "CodeMixture": code_mixture,
    "UnitLength": unit_length,
    "SoftAssignmentEntropy": soft_assignment_entropy,
    "CuredVectorQuantizer": cured_vector_quantizer,
    "ReversedVectorQuantizer": reversed_vector_quantizer,
    "L1": l1,
    "Embedding": embedding,
    "LayerNorm": layer_norm,
    "Dropout": dropout,
    "Softmax": softmax,
    "LinearOfTokens": linear_of_tokens,
    "MultiheadAttention": multihead_attention,
    "CrossEntropy": cross_entropy,
    "Concatenate": concatenate,
    "SquaredError": squared_error,
    "Gaussian": gaussian,
    "BernoulliFromLogits": bernoulli_from_logits,
    "LogitLaplace": logit_laplace,
    "DiscretizedLogistic": discretized_logistic,
    "Categorical": categorical,
}


def twin(name):
    """The module of this name in torch.nn, or else in torch_ref or wherever a twin is defined.

    Raises ValueError where there is none.
    """
    if hasattr(torch.nn, name):
        return getattr(torch.nn, name)
    kinds = [kind for kind in descendants(torch.nn.Module) if kind.__name__ == name]
    kinds.sort(key=lambda kind: kind.__module__.startswith("torch_ref."))  # torchvision has a ResidualBlock, too
    if not kinds:
        raise ValueError(f"no PyTorch reference of {name}: expected an entry in REFERENCES, or a torch.nn.Module of "
                         f"that name in torch_ref")
    return kinds[-1]


def descendants(kind):
    """Every class below `kind`, but for PyTorch's own."""
    for child in kind.__subclasses__():
        if not child.__module__.startswith("torch."):
            yield child
        yield from descendants(child)


def of_module(kind, first):
    """A reference from a module that has the operation's arguments, inputs and parameter names.

    Its forward takes the inputs and then the constants. It returns the output `first`, or that and {name: term}.
    """

    def outputs(arguments, t, c):
        arguments = dict(arguments)
        if "feature_shape" in arguments:  # (H, W, C)
            *grid, channels = arguments["feature_shape"]
            arguments["feature_shape"] = (channels, *grid)
        if "dtype" in inspect.signature(kind).parameters:
            arguments["dtype"] = torch.float64
        module = kind(**arguments)
        parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
        held = buffers | {name: value for name, value in (t | c).items() if name in parameters | buffers}
        inputs = [value if value is None else nchw(value) for name, value in (t | c).items() if name not in held]
        result = torch.func.functional_call(module, held, tuple(inputs), strict=True)
        y, terms = result if isinstance(result, tuple) else (result, {})
        return {first: nhwc(y), **terms}

    return outputs


def autograd(case, trial, rng):
    """{tensor name: largest |hand-written − autograd| / largest |autograd|} under the trial's upstream gradients."""
    operation = trial.operation
    leaves = {name: torch.tensor(tensor, requires_grad=True) for name, tensor in operation.tensors.items()}
    parameters = operation.module.named_parameters() if operation.module else {}
    tensors = {
        name: leaf.permute(parameters[name].to_torch) if name in parameters else leaf for name, leaf in leaves.items()
    }
    constants = {name: value if value is None else torch.tensor(value) for name, value in operation.constants.items()}
    name = case.name.removeprefix("Accelerated")
    reference = REFERENCES[name] if name in REFERENCES else of_module(twin(name), next(iter(trial.upstream)))
    outputs = reference(case.arguments, tensors, constants)
    if outputs.keys() != trial.upstream.keys():
        raise ValueError(f"{name} has the outputs {', '.join(trial.upstream)}, its reference {', '.join(outputs)}")
    upstream = [torch.tensor(trial.upstream[name]) for name in outputs]
    gradients = torch.autograd.grad(list(outputs.values()), list(leaves.values()), upstream)
    return {  # a gradient that is rightly zero is exactly so
        name: float((torch.tensor(trial.gradients[name]) - gradient).abs().max() / (gradient.abs().max() or 1.0))
        for name, gradient in zip(leaves, gradients, strict=True)
    }


AUTOGRAD = table.Column("autograd", BOUND, autograd)


def run(arguments):
    """The command: the table of both witnesses; 0 if every difference is within its bound, else 1."""
    return gradcheck.run(arguments, columns=(table.FINITE_DIFFERENCES, AUTOGRAD))
