"""Mistakes in losses and bottlenecks."""

from tests.gradients.planted.mistake import plant

plant(
    "SquaredError", "losses.SquaredError.backward",
    ("the 2 forgotten", "2 * dL", "dL", "½ of"),
    ("the batch's mean forgotten", " / len(difference)", "", r"(^|[^/])N times|N times"),
    ("averaged over the elements", "len(difference)", "difference.size", r"1/\(elements of an example"),
    ("the upstream forgotten", "2 * dL", "2", "without the upstream gradient"),
    ("of the opposite sign", "difference * (", "-difference * (", "opposite sign"),
)
plant(
    "BernoulliFromLogits", "losses.bernoulli_backward",
    ("x − p", "(sigmoid(a) - x)", "(x - sigmoid(a))", "opposite sign"),
    ("the logit in place of the probability", "(sigmoid(a) - x)", "(a - x)", "output|sigmoid"),
    ("by the probability, not the logit", "(sigmoid(a) - x)", "(sigmoid(a) - x) / (sigmoid(a) * (1 - sigmoid(a)))",
     "sigmoid"),
    ("sigmoid's derivative twice", "(sigmoid(a) - x)", "(sigmoid(a) - x) * (sigmoid(a) * (1 - sigmoid(a)))", "sigmoid"),
    ("the target forgotten", "(sigmoid(a) - x)", "sigmoid(a)", r"in place of sigmoid\(output\) − target"),
)
plant(
    "BernoulliFromLogits", "losses.BernoulliFromLogits.backward",
    ("the batch's mean forgotten", "dL / len(a)", "dL", "N times"),
    ("the upstream forgotten", "dL / len(a)", "1 / len(a)", "without the upstream gradient"),
)
plant(
    "Gaussian", "losses.Gaussian.backward",
    ("1/σ forgotten", "(xp.exp(-log_sigma) * (dL", "(1 * (dL", "σ times|factor"),
    ("D forgotten in σ's gradient", "excess = deviation.size // len(deviation) -", "excess = 1 -", "nothing"),
)
plant(
    "LogitLaplace", "losses.logit_laplace_backward",
    ("the sign of the location", "dmu = -xp", "dmu = xp", "opposite sign"),
)
plant(
    "DiscretizedLogistic", "losses.discretized_logistic_backward",
    ("of the opposite sign", "(B - A)", "(A - B)", "opposite sign"),
    ("the upper tail kept below white only in forward", "(v < 255) * sigmoid(-b)", "sigmoid(-b)", "."),
    ("the lower tail kept above black only in forward", "(v > 0) * sigmoid(a)", "sigmoid(a)", "."),
    ("the width's share forgotten", "+ (v > 0) * (v < 255) * (delta / xp.expm1(delta))", "",
     "without the share of the width δ"),
    ("the upper end forgotten", "(v < 255) * sigmoid(-b)", "0 * sigmoid(-b)", "without the share of the upper end b"),
    ("the width's share of the opposite sign", "+ (v > 0) * (v < 255) * (delta", "- (v > 0) * (v < 255) * (delta",
     "width δ"),
    ("the bound of the scale forgotten", "xp.exp(s - log_scale)", "1", "."),
)
plant(
    "DiscretizedLogistic", "losses.DiscretizedLogistic.backward",
    ("the batch's mean forgotten", "dL / len(s)", "dL", "N times"),
    ("the upstream forgotten", "dL / len(s)", "1 / len(s)", "without the upstream gradient"),
)
plant(
    "Categorical", "losses.CrossEntropy.backward",
    ("the 1 at the right value forgotten", "da -= labels[..., None] == xp.arange(da.shape[-1])", "pass",
     "without the share of the 1 at the right value"),
)
plant(
    "Categorical", "losses.Categorical.backward",
    ("of the opposite sign", "return da", "return -da", "opposite sign"),
    ("channels and logits exchanged", "da.reshape(", "da.swapaxes(-1, -2).reshape(", "."),
    ("averaged over the channels, too", "backward(dL)", "backward(dL / 2)", "½ of|of the right gradient"),
)
plant(
    "GaussianKL", "bottlenecks.gaussian.gaussian_kl_backward",
    ("2 μ", "mu * scale", "2 * mu * scale", "twice"),
    ("½ forgotten", "0.5 * array", "array", "twice"),
    ("−1 forgotten", ".expm1(logvar)", ".exp(logvar)", "σ² in place of σ² − 1"),
    ("σ in place of σ²", "array_module(logvar).expm1(logvar)", "array_module(logvar).expm1(0.5 * logvar)", "σ"),
    ("of the opposite sign", "0.5 * array", "-0.5 * array", "opposite sign"),
    ("μ²", "mu * scale", "mu * mu * scale", "factor mu too many"),
    ("exchanged", "return mu * scale, 0.5 * array_module(logvar).expm1(logvar) * scale",
     "return 0.5 * array_module(logvar).expm1(logvar) * scale, mu * scale", "the gradient of (mu|logvar), not"),
)
plant(
    "GaussianKL", "bottlenecks.gaussian.GaussianKL.backward",
    ("the batch's mean forgotten", "dkl / len(mu)", "dkl", "N times"),
    ("the upstream forgotten", "dkl / len(mu)", "1 / len(mu)", "without the upstream gradient"),
    ("averaged over the dimensions, too", "dkl / len(mu)", "dkl / mu.size", "1/elements of an example|⅓"),
)
plant(
    "GaussianKL", "bottlenecks.gaussian.gaussian_kl",
    ("not zero at the prior", "0.5 * (mu * mu + exp_above_tangent(logvar))",
     "0.5 * (mu * mu + exp_above_tangent(logvar) + 1)", "at the prior"),
)
plant(
    "Reparameterize", "bottlenecks.gaussian.reparameterize_backward",
    ("½ forgotten", "(0.5 * sigma_eps)", "sigma_eps", "twice"),
    ("the upstream forgotten", "dz * (0.5", "1.0 * (0.5", r"taken as 1|without .* ∂L/∂z"),
)
plant(
    "Reparameterize", "bottlenecks.gaussian.Reparameterize.forward",
    ("noise of another draw saved", "self.save(sigma_eps)",
     "self.save(array_module(mu).exp(0.5 * logvar) * np.random.default_rng().standard_normal(mu.shape))",
     "another draw"),
    ("noise of another draw, of a fixed seed", "self.save(sigma_eps)",
     "self.save(array_module(mu).exp(0.5 * logvar) * np.random.default_rng(7).standard_normal(mu.shape))",
     "another draw"),
    ("z written over the array that was saved", "self.save(sigma_eps)",
     "self.save(sigma_eps); sigma_eps += mu; z = sigma_eps", "changed in place after it was saved"),
    ("ε saved without σ", "self.save(sigma_eps)", "self.save(eps)", "without its factor σ"),
    ("σ saved without ε", "self.save(sigma_eps)", "self.save(array_module(mu).exp(0.5 * logvar))",
     "for eps = 1|without its factor eps"),
    ("z saved in place of σ ε", "self.save(sigma_eps)", "self.save(z)", "mu"),
    ("no noise at all", "self.formula(mu, logvar, eps)", "self.formula(mu, logvar, 0 * eps)",
     "do(es)? not depend on the noise"),
    ("the noise of another example", "self.save(sigma_eps)",
     "self.save(array_module(mu).exp(0.5 * logvar) * eps[::-1])", "for eps flipped along axis 0"),
)
plant(
    "Reparameterize", "bottlenecks.gaussian.reparameterize",
    ("σ = exp(logvar) in forward", ".exp(0.5 * logvar) * eps", ".exp(logvar) * eps", "½ of"),
)
plant(
    "Reparameterize", "bottlenecks.gaussian.Reparameterize.backward",
    ("μ's gradient of the opposite sign", "return dz, self", "return -dz, self", "opposite sign"),
    ("exchanged", "return dz, self.derivative(dz, sigma_eps)", "return self.derivative(dz, sigma_eps), dz",
     "the gradient of (mu|logvar), not"),
    ("no gradient of σ", "self.derivative(dz, sigma_eps)", "0 * dz", "zero"),
)
plant(
    "FreeBits", "bottlenecks.free_bits.FreeBits.backward",
    ("the bound forgotten", "dfree * above", "dfree", "for λ = 0"),
    ("kl's own share forgotten", "(dkl + dfree * above)", "(dfree * above)", "without the share of kl"),
)
plant(
    "CapacityTarget", "bottlenecks.capacity.CapacityTarget.backward",
    ("the sign forgotten", "array_module(excess).sign(excess) * dgap", "dgap * (excess == excess)",
     "itself|opposite sign where"),
)
plant(
    "L1", "bottlenecks.sparse.L1.backward",
    ("the sign forgotten", "array_module(z).sign(z) *", "abs(array_module(z).sign(z)) *",
     "opposite sign where z < 0"),
    ("the batch's mean forgotten", "dl1 / len(z)", "dl1", "N times"),
    ("z in place of its sign", "array_module(z).sign(z)", "z", "factor|nothing"),
)
VQ = "bottlenecks.vector_quantizer.VectorQuantizer.gradients"
plant(
    "VectorQuantizer", VQ,
    ("the straight-through share forgotten", "self.derivative(dq,", "self.derivative(0 * dq,",
     "without the share of q"),
    ("the commitment forgotten", 'scale * dterms["commitment"]', "0.0", "without the share of commitment"),
    ("the commitment's weight on the codebook", '-scale * dterms["codebook"]', '-scale * dterms["commitment"]',
     "upstream gradient of commitment|∂L/∂commitment|∂L/∂codebook"),
    ("the codebook's sign", "residual * (-scale", "residual * (scale", "opposite sign"),
    ("the commitment's sign", "residual, scale *", "residual, -scale *", "commitment of the opposite sign"),
    ("the 2 forgotten", "scale = 2 / len", "scale = 1 / len", "½ of|half of the share"),
    ("the batch's mean forgotten", "scale = 2 / len(residual)", "scale = 2.0", "N times|times N"),
    ("an untrained codebook", 'if "codebook" in dterms else None', "if False else None", "zero, where"),
    ("the terms' weights exchanged", 'dterms["codebook"]), k)', 'dterms["commitment"]), k)', "commitment|codebook"),
)
plant(
    "VectorQuantizer", "bottlenecks.vector_quantizer.sums_by_index",
    ("latents of one code replaced, not added", "xp.add.at(sums, (indices.reshape(-1, 1) * D + xp.arange(D)).ravel(), "
     "vectors.ravel())", "sums[(indices.reshape(-1, 1) * D + xp.arange(D)).ravel()] += vectors.ravel()",
     "the last latent of each code alone"),
    ("a mean in place of the sum", "return sums.reshape(count, D)",
     "return sums.reshape(count, D) / xp.maximum(code_counts(indices, codes), 1)[:, None]", "a mean in place of a sum"),
)
plant(
    "VectorQuantizer", "bottlenecks.vector_quantizer.VectorQuantizer.quantize",
    ("the straight-through line reversed", "return q, {", "q = q + (z - q); return q, {",
     "the straight-through line is reversed"),
)
plant(
    "GroupedQuantizer", "bottlenecks.grouped_quantizer.GroupedQuantizer.backward",
    ("every group's gradient from the first slice", "quantizer.backward(part, dterms)",
     "quantizer.backward(dq[..., : part.shape[-1]], dterms)", "wrong at the indices 3, 4, 5 of axis 3"),
    ("the slices in the opposite order", "for quantizer, part in self.with_slices(dq)]",
     "for quantizer, part in self.with_slices(dq)][::-1]", "shifted by 3 along axis 3"),
    ("the terms averaged over the groups", "quantizer.backward(part, dterms)",
     "quantizer.backward(part, {name: d / 2 for name, d in dterms.items()})",
     "1/groups|half of the share of commitment"),
)
plant(
    "UnitLength", "bottlenecks.codebook.unit_length.divided_backward",
    ("the part along y forgotten", "dy - y * (along_y * (norm >= SHORTEST))", "dy + 0 * y", "without the share of y"),
    ("the norm forgotten", " / xp.maximum(norm, SHORTEST)", "", "factor|nothing"),
)
plant(
    "SoftAssignmentEntropy", "bottlenecks.codebook.soft_assignment.SoftAssignmentEntropy.backward",
    ("the 2 forgotten", "dgap * 2 / len(p)", "dgap / len(p)", "½ of"),
    ("the temperature forgotten", "da /= self.temperature", "pass", "τ times"),
    ("the codes' own part forgotten", "da.T @ z - e * da.sum(axis=0)[:, None]", "da.T @ z", "without the share of eₖ"),
    ("the softmax's sum forgotten", "(log_mean - (p @ log_mean)[:, None])", "(log_mean + 0 * (p @ log_mean)[:, None])",
     "without the share of the softmax"),
)
plant(
    "GumbelSoftmax", "bottlenecks.gumbel_softmax.gumbel_softmax_backward",
    ("the temperature forgotten", "da /= temperature", "pass", "τ times|1.0"),
    ("the temperature twice", "da /= temperature", "da /= temperature * temperature", "1/τ"),
    ("the sum forgotten", "da = dy - mean", "da = dy + 0 * mean", "without the share of the sum"),
    ("y forgotten", "da *= y", "pass", "without its factor y"),
)
plant(
    "GumbelSoftmax", "bottlenecks.gumbel_softmax.GumbelSoftmax.backward",
    ("the sum over the wrong axis", "(y * dy).sum(axis=-1, keepdims=True)", "(y * dy).sum(axis=1, keepdims=True)",
     "y times a sum|missing or wrong|nothing"),
)
plant(
    "GumbelSoftmax", "bottlenecks.gumbel_softmax.GumbelSoftmax.forward",
    ("the noise forgotten", "perturbed(a, g)", "perturbed(a, 0 * g)", "noise|do not depend"),
)
plant(
    "CategoricalKL", "bottlenecks.gumbel_softmax.categorical_kl_backward",
    ("the sum forgotten", "weighted - p * divergence", "weighted + 0 * p", "without the share of the sum"),
    ("of the opposite sign", "da *= scale", "da *= -scale", "opposite sign"),
)
plant(
    "CodeMixture", "bottlenecks.gumbel_softmax.CodeMixture.backward",
    ("the codes' gradient averaged", "y.reshape(-1, len(e)).T @ dq", "y.reshape(-1, len(e)).T @ dq / len(dq)",
     "examples and positions"),
    ("the codes' gradient forgotten", "self.weight.accumulate(", "(lambda g: None)(", "zero"),
)
