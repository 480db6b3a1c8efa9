"""`python -m scratch gradcheck` with a second witness beside finite differences: PyTorch's autograd.

For every case of scratch/gradcheck/cases.py the operation is written once more, in PyTorch, and is given the same
tensors and the same upstream gradients. The new column is the largest difference between the hand-written gradient and
autograd's, relative to the largest magnitude in autograd's.
"""

import math

import torch
import torch.nn.functional as F

from scratch.gradcheck import table
from scratch.commands import gradcheck
from scratch.commands.gradcheck import add_arguments  # noqa: F401  (the command takes the same arguments)

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
    y = F.conv2d(nchw(t["x"]), t["weight"].permute(3, 2, 0, 1), t["bias"], arguments["stride"], arguments["padding"])
    return {"y": nhwc(y)}


def conv_transpose2d(arguments, t, c):
    weight = t["weight"].permute(0, 3, 1, 2)
    y = F.conv_transpose2d(nchw(t["x"]), weight, t["bias"], arguments["stride"], arguments["padding"])
    return {"y": nhwc(y)}


def shift(arguments, t, c):
    return {"y": t["x"] + arguments["offset"]}


def residual_block(arguments, t, c):
    x = nchw(t["x"])
    if "norm" in arguments:
        h = F.relu(F.group_norm(x, x.shape[1], t["branch.0.weight"], t["branch.0.bias"]))
        h = F.conv2d(h, t["branch.2.weight"], padding=1)
        h = F.relu(F.group_norm(h, 1, t["branch.3.weight"], t["branch.3.bias"]))  # of 3 channels 8 makes one group
        return {"y": nhwc(x + F.conv2d(h, t["branch.5.weight"]))}
    h = F.conv2d(F.relu(x), t["branch.1.weight"], t["branch.1.bias"], padding=1)
    return {"y": nhwc(x + F.conv2d(F.relu(h), t["branch.3.weight"], t["branch.3.bias"]))}


def batch_norm(arguments, t, c):
    """By the batch; torch.nn's own would want the running statistics as well."""
    eps = arguments.get("eps", 1e-5)
    return {"y": nhwc(F.batch_norm(nchw(t["x"]), None, None, t["weight"], t["bias"], training=True, eps=eps))}


def reparameterize(arguments, t, c):
    return {"z": t["mu"] + t["logvar"].exp().sqrt() * c["eps"]}


def gaussian_kl(arguments, t, c):
    posterior = torch.distributions.Normal(t["mu"], t["logvar"].exp().sqrt())
    prior = torch.distributions.Normal(torch.zeros_like(t["mu"]), torch.ones_like(t["mu"]))
    return {"kl": mean_of_sums(torch.distributions.kl_divergence(posterior, prior))}


def free_bits(arguments, t, c):
    variance = t["logvar"].exp()
    k = (-0.5 * (1 + t["logvar"] - t["mu"] ** 2 - variance)).mean(0)
    return {"kl": k.sum(), "kl_free": F.threshold(k, arguments["nats"], arguments["nats"]).sum()}


def capacity_target(arguments, t, c):
    return {"gap": F.l1_loss(t["kl"], torch.full_like(t["kl"], arguments["capacity"]), reduction="none")}


def vector_quantizer(arguments, t, c):
    z, codebook = t["z"], t["codebook"]
    indices = torch.cdist(z.detach().flatten(0, -2), codebook.detach()).argmin(1)
    quantized = codebook[indices].reshape(z.shape)
    return {
        "q": z + (quantized - z).detach(),
        "codebook": mean_of_sums((z.detach() - quantized) ** 2),
        "commitment": mean_of_sums((z - quantized.detach()) ** 2),
    }


def unit_length(arguments, t, c):
    return {"y": F.normalize(t["x"], dim=-1)}


def soft_assignment_entropy(arguments, t, c):
    distances = (t["z"].unsqueeze(1) - t["codes"]).square().sum(-1)
    use = torch.distributions.Categorical(F.softmax(-distances / arguments["temperature"], -1).mean(0))
    uniform = torch.distributions.Categorical(torch.ones_like(use.probs))
    return {"gap": torch.distributions.kl_divergence(use, uniform)}


def cured_vector_quantizer(arguments, t, c):
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
    z, codebook = t["z"], t["codebook"]
    q = codebook[torch.cdist(z.detach().flatten(0, -2), codebook.detach()).argmin(1)].reshape(z.shape)
    q = q + (z - q).detach()
    return {
        "q": q, "codebook": mean_of_sums((z.detach() - q) ** 2), "commitment": mean_of_sums((z - q.detach()) ** 2)}


def linear(name, x, t):
    return F.linear(x, t[f"{name}.weight"], t[f"{name}.bias"])


def dense_bottleneck(arguments, t, c):
    h = nchw(t["h"])
    z = linear("reduce", h.flatten(1), t)
    return {"y": nhwc(linear("expand", z, t).unflatten(1, h.shape[1:]))}


def l1(arguments, t, c):
    return {"l1": mean_of_sums(t["z"].abs())}


def sparse_bottleneck(arguments, t, c):
    h = nchw(t["h"])
    z = linear("reduce", h.flatten(1), t).clamp(min=0)
    return {"y": nhwc(linear("expand", z, t).unflatten(1, h.shape[1:])), **l1(arguments, {"z": z}, c)}


def gaussian_bottleneck(arguments, t, c):
    h = nchw(t["h"])
    mu, logvar = linear("mu", h.flatten(1), t), linear("logvar", h.flatten(1), t)
    z = reparameterize(arguments, {"mu": mu, "logvar": logvar}, {"eps": c["noise"]})["z"]
    y = linear("expand", z, t).unflatten(1, h.shape[1:])
    rates = gaussian_kl(arguments, {"mu": mu, "logvar": logvar}, c)
    if "free_bits" in arguments:
        rates = free_bits({"nats": arguments["free_bits"]}, {"mu": mu, "logvar": logvar}, c)
    if "capacity" in arguments:
        rates["kl_gap"] = capacity_target(arguments, rates, c)["gap"]
    return {"y": nhwc(y), **rates}


def vector_quantized_bottleneck(arguments, t, c):
    z = F.conv2d(nchw(t["h"]), t["project.weight"], t["project.bias"])
    outputs = vector_quantizer(arguments, {"z": nhwc(z), "codebook": t["quantizer.codebook"]}, c)
    y = outputs.pop("q")
    if arguments.get("expand", True):
        y = nhwc(F.conv2d(nchw(y), t["expand.weight"], t["expand.bias"]))
    return {"y": y, **outputs}


def concatenate(arguments, t, c):
    return {"y": torch.cat([t["a"], t["b"]], dim=-1)}


def two_level_bottleneck(arguments, t, c):
    def conv(name, x):
        return F.conv2d(x, t[f"{name}.weight"], t[f"{name}.bias"])

    def double(name, x):
        return F.conv_transpose2d(x, t[f"{name}.weight"], t[f"{name}.bias"], stride=2, padding=1)

    def quantize(level, z):
        outputs = vector_quantizer(arguments, {"z": nhwc(z), "codebook": t[f"{level}_quantizer.codebook"]}, c)
        return nchw(outputs.pop("q")), {f"{name}_{level}": term for name, term in outputs.items()}

    h = nchw(t["h"])
    halved = F.conv2d(h, t["top_encoder.0.weight"], t["top_encoder.0.bias"], stride=2, padding=1)
    top, top_terms = quantize("top", conv("top_encoder.2", halved.relu()))
    bottom, bottom_terms = quantize("bottom", conv("project", torch.cat([h, double("top_decoder", top)], dim=1)))
    y = conv("expand", torch.cat([bottom, double("upsample", top)], dim=1))
    return {"y": nhwc(y), **top_terms, **bottom_terms}


def gumbel_softmax(arguments, t, c):
    y = torch.softmax((t["logits"] + c["noise"]) / arguments["temperature"], dim=-1)
    if arguments.get("hard"):
        one_hot = F.one_hot(y.argmax(-1), y.shape[-1])
        y = one_hot + y - y.detach()
    return {"y": y}


def categorical_kl(arguments, t, c):
    uniform = torch.distributions.Categorical(logits=torch.zeros_like(t["logits"]))
    posterior = torch.distributions.Categorical(logits=t["logits"])
    return {"kl": mean_of_sums(torch.distributions.kl_divergence(posterior, uniform))}


def code_mixture(arguments, t, c):
    return {"q": torch.einsum("...k,kd->...d", t["y"], t["weight"])}


def gumbel_softmax_bottleneck(arguments, t, c):
    logits = {"logits": nhwc(F.conv2d(nchw(t["h"]), t["project.weight"], t["project.bias"]))}
    q = gumbel_softmax(arguments, logits, c)["y"] @ t["codebook.weight"]
    y = F.conv2d(nchw(q), t["expand.weight"], t["expand.bias"])
    return {"y": nhwc(y), **categorical_kl(arguments, logits, c)}


def logit_laplace(arguments, t, c):
    """The density as the paper writes it, with b bounded from below."""
    mu, s = t["output"].chunk(2, dim=-1)
    b = s.exp() + 2 * 0.8 / 255
    x = 0.8 * c["target"] + 0.1
    density = torch.exp(-(torch.logit(x) - mu).abs() / b) / (2 * b * x * (1 - x))
    return {"loss": mean_of_sums(-density.log())}


def gaussian(arguments, t, c):
    """−log of the density; PyTorch's loss takes the variance."""
    variance = ((t["log_sigma"].exp() + math.exp(-6)) ** 2).expand_as(c["target"])
    total = F.gaussian_nll_loss(t["output"], c["target"], variance, full=True, eps=0, reduction="sum")
    return {"loss": total / len(c["target"])}


def squared_error(arguments, t, c):
    return {"loss": F.mse_loss(t["output"], c["target"], reduction="sum") / len(c["target"])}


def bernoulli_from_logits(arguments, t, c):
    total = F.binary_cross_entropy_with_logits(t["output"], c["target"], reduction="sum")
    return {"loss": total / len(c["target"])}


REFERENCES = {
    "conv2d_definition": conv2d,
    "conv_transpose2d_definition": conv_transpose2d,
    "Shift": shift,
    "ResidualBlock": residual_block,
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
    "DenseBottleneck": dense_bottleneck,
    "L1": l1,
    "SparseBottleneck": sparse_bottleneck,
    "GaussianBottleneck": gaussian_bottleneck,
    "FreeBitsBottleneck": gaussian_bottleneck,
    "CapacityBottleneck": gaussian_bottleneck,
    "VectorQuantizedBottleneck": vector_quantized_bottleneck,
    "TwoLevelBottleneck": two_level_bottleneck,
    "Concatenate": concatenate,
    "GumbelSoftmaxBottleneck": gumbel_softmax_bottleneck,
    "SquaredError": squared_error,
    "Gaussian": gaussian,
    "BernoulliFromLogits": bernoulli_from_logits,
    "LogitLaplace": logit_laplace,
}


def torch_layer(name):
    """A layer is its namesake in torch.nn, which takes the same arguments and names its parameters alike."""

    def outputs(arguments, t, c):
        module = getattr(torch.nn, name)(**arguments).double()
        parameters = {key: value for key, value in t.items() if key != "x"}
        return {"y": nhwc(torch.func.functional_call(module, parameters, nchw(t["x"]), strict=True))}

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
    outputs = REFERENCES.get(name, torch_layer(name))(case.arguments, tensors, constants)
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
