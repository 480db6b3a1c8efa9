"""Mistakes where parts are joined: a path or a term that is forgotten, doubled, or sent to the wrong part."""

from tests.gradients.planted.mistake import plant

plant(
    "GaussianBottleneck", "bottlenecks.gaussian.GaussianBottleneck.backward",
    ("the KL's share of logvar forgotten", "dlogvar + dlogvar_kl", "dlogvar", "without the share of kl"),
    ("the KL's share of μ doubled", "dmu + dmu_kl", "dmu + 2 * dmu_kl", "share of kl .*doubled|twice the share of kl"),
    ("the KL's share of the opposite sign", "dmu + dmu_kl", "dmu - dmu_kl", "opposite sign"),
    ("the path through logvar forgotten", "dh += self", "dh = self", "without the share of logvar"),
    ("the heads exchanged", "self.logvar.backward(dlogvar + dlogvar_kl)", "self.logvar.backward(dmu + dmu_kl)",
     "gradient of mu|nothing"),
    ("the KL's shares exchanged", "dmu_kl, dlogvar_kl = self", "dlogvar_kl, dmu_kl = self", "nothing"),
)
plant(
    "GaussianBottleneck", "bottlenecks.gaussian.GaussianBottleneck.forward",
    ("noise of its own in place of the given one", "if noise is None:", "if True:", "draws its own noise"),
    ("decoding the mean", "return self.decode(z), terms", "return self.decode(mu), terms", "noise|zero|none"),
)
plant(
    "CapacityBottleneck", "bottlenecks.capacity.CapacityBottleneck.rate_backward",
    ("kl's own share forgotten", 'dterms["kl"] + self', '0 * dterms["kl"] + self', "without the share of kl"),
    ("the target's share of the opposite sign", '+ self.target', '- self.target',
     "opposite sign of the share of target|kl_gap of the opposite sign"),
)
plant(
    "DenseBottleneck", "bottlenecks.dense.DenseBottleneck.backward",
    ("the gradient of the code halved", "dz))", "0.5 * dz))", "½ of"),
)
plant(
    "SparseBottleneck", "bottlenecks.sparse.SparseBottleneck.backward",
    ("the L1's share forgotten", 'dz += self.l1.backward(dterms["l1"])', 'self.l1.backward(dterms["l1"])',
     "without the share of l1"),
    ("the ReLU forgotten", "self.relu.backward(dz)", "(self.relu.backward(dz), dz)[1]", "nothing"),
)
plant(
    "VectorQuantizedBottleneck", "bottlenecks.vector_quantized.VectorQuantizedBottleneck.backward",
    ("the quantizer passed by", "dz = self.quantizer.backward(dq, dterms)",
     "self.quantizer.backward(dq, dterms); dz = dq", "without the share of commitment"),
    ("the decoder's gradient stopped", "dz = self.quantizer.backward(dq, dterms)",
     "dz = self.quantizer.backward(0 * dq, dterms)", "without the share of y"),
)
plant(
    "TwoLevelBottleneck", "bottlenecks.two_level.TwoLevelBottleneck.backward",
    ("the top's path through the bottom forgotten", "dq_top += self.top_decoder.backward(ddecoded)",
     "self.top_decoder.backward(ddecoded)", "without the share of top_decoder"),
    ("the top encoder forgotten", "dh + self.top_encoder.backward(dz_top)",
     "(dh, self.top_encoder.backward(dz_top))[0]", "without the share of top_encoder"),
    ("the top encoder doubled", "dh + self", "dh + 2 * self", "twice the share of top_encoder"),
    ("the terms of the levels exchanged", "top, bottom = (", "bottom, top = (",
     "under the upstream gradient of|_bottom and .*_top exchanged"),
)
plant(
    "GumbelSoftmaxBottleneck", "bottlenecks.gumbel_softmax.GumbelSoftmaxBottleneck.backward",
    ("the KL's share forgotten", 'da += self.kl.backward(dterms["kl"])', 'self.kl.backward(dterms["kl"])',
     "without the share of kl"),
    ("the KL's weight ignored", 'self.kl.backward(dterms["kl"])', "self.kl.backward(1.0)",
     "kl without its upstream|without ∂L/∂kl"),
)
plant(
    "AvgPool2d", "layers.pooling.AvgPool2d.backward",
    ("always the whole kernel's count", "(dy / count)", "(dy / (self.window.kernel[0] * self.window.kernel[1]))",
     "nothing|factor"),
)
plant(
    "Conv2d", "layers.patches.Window.col2im",
    ("patches replaced where they overlap", "SW] += patches", "SW] = patches", "one summand"),
    ("the first row of the kernel forgotten", "for u in range(KH)", "for u in range(1, KH)",
     "zero|wrong at the indices"),
    ("the stride of rows and columns exchanged in the crop", "PW : PW + W]", "PW : PW + W][:, :, ::-1]",
     "flipped along axis 2"),
    ("the padding cut off at the wrong side", "padded[:, PH : PH + H, PW : PW + W]",
     "padded[:, 2 * PH : 2 * PH + H, 2 * PW : 2 * PW + W] if padded[:, 2 * PH : 2 * PH + H, 2 * PW : 2 * PW + W].shape "
     "== (N, H, W, C) else padded[:, :H, :W]", "shifted by 1|shifted"),
)
plant(
    "Conv2d", "layers.conv.Conv2d.backward",
    ("weights read in another order", "(P.T @ dy).reshape(KH, KW, C, O)", "(P.T @ dy).reshape(C, KH, KW, O)"
     ".transpose(1, 2, 0, 3)", "another order|axes in the order"),
    ("channels and taps exchanged", "dP.reshape(N, I, J, KH, KW, C)", "dP.reshape(N, I, J, C, KH, KW)"
     ".transpose(0, 1, 2, 4, 5, 3)", "for weight (read in another order|with its axes)"),
    ("the weights of the input's gradient not transposed in space", "self.weight.value.reshape(KH * KW * C, O).T",
     "self.weight.value.transpose(1, 0, 2, 3).reshape(KH * KW * C, O).T",
     "for weight (read in another order|with its axes)"),
)
plant(
    "ConvTranspose2d", "layers.conv.ConvTranspose2d.backward",
    ("weights read in another order", "(x.T @ dP).reshape(C, KH, KW, O)", "(x.T @ dP).reshape(C, O, KH, KW)"
     ".transpose(0, 2, 3, 1)", "another order|axes in the order"),
    ("the kernel turned", "self.weight.value.reshape(C, KH * KW * O).T",
     "self.weight.value[:, ::-1, ::-1].reshape(C, KH * KW * O).T", "for weight flipped along axes 1 and 2"),
)
plant(
    "GroupNorm", "layers.group_norm.GroupNorm.mean",
    ("no mean at all", "of_groups = of_channels", "of_groups = 0 * of_channels", "normalised together"),
)
plant(
    "BatchNorm2d", "layers.batch_norm.BatchNorm2d.backward",
    ("the result not brought back to its shape", ".reshape(dy.shape)", "", "has shape"),
    ("the upstream read in another order", "dy.reshape(-1, dy.shape[-1])",
     "dy.transpose(0, 3, 1, 2).reshape(-1, dy.shape[-1])", "another order|axes in the order"),
)
plant(
    "CuredVectorQuantizer", "bottlenecks.codebook.health.CuredVectorQuantizer.gradients",
    ("the entropy's share of z forgotten", "dz += dz_entropy.reshape(dz.shape)", "pass",
     "without the share of entropy_gap"),
    ("the unit length's backward forgotten", "dz = self.unit_latents.backward(dz)", "self.unit_latents.backward(dz)",
     "nothing"),
)
plant(
    "CuredVectorQuantizer", "bottlenecks.codebook.moving_average.MovingAverages.codes",
    ("averages without their correction", "self.sums.value / self.weight.value / smoothed",
     "self.sums.value / smoothed", "not the mean of the latents"),
)
plant(
    "VectorQuantizer", "bottlenecks.vector_quantizer.nearest_codes",
    ("the farthest code", "closeness.argmax", "closeness.argmin", "nearest code"),
)
plant(
    "CategoricalKL", "bottlenecks.gumbel_softmax.above_uniform",
    ("a KL that is not zero at the uniform distribution", "return array", "return 1 + array", "uniform"),
)
plant(
    "Reparameterize", "bottlenecks.gaussian.reparameterize",
    ("σ² for σ, and its derivative to match", "sigma_eps = array_module(logvar).exp(0.5 * logvar) * eps",
     "sigma_eps = 2 * array_module(logvar).exp(logvar) * eps; return mu + 0.5 * sigma_eps, sigma_eps",
     r"expected is exp\(logvar\)"),
)
