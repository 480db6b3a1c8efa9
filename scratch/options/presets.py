"""The named recipes: sizes, weights and settings that `--preset` chooses and single options override.

A recipe that lacks an option of a model is none of that model's.

small     The default: the article's shape in smaller, which learns the generated shapes in about a minute on two cores.

article   N. Correll, "A deep-dive into Autoencoders (AE, VAE, and VQ-VAE) with code" (Toward Humanoids, 2025), for
          CIFAR-10. One line is not copied. The article prints its straight-through step as

              z_q = z_q + (z - z_q).detach()

          whose value is z: the decoder then sees the unquantized vector, the extra losses compare z with itself and
          are zero, and the printed program quantizes nothing. Here it is z + (z_q - z).detach(), as van den Oord
          et al. (2017) define it, so that the value is z_q and the gradient goes to z.
          It has no dVAE: that one shares the VQ-VAE's channels and codebook here, and its temperature, KL weight and
          schedule are the small preset's, over as many more steps as the article trains longer. DALL·E's own (Ramesh
          et al. 2021) go from a temperature of 1 to 1/16 in 150,000 steps, with a KL weight that rises to 6.6.

published The VQ-VAE of van den Oord et al. (2017, arXiv:1711.00937) for CIFAR-10, in the details that the paper leaves
          open as its authors' notebook has them (sonnet/examples/vqvae_example.ipynb of Sonnet 1). It trains for a
          number of steps, not of epochs, with a codebook of moving averages, from Sonnet's initial weights. What
          differs here: an epoch is a shuffle of all images, where the notebook draws from a window of 10,000; and the
          training set is all 50,000 images, where it leaves out the last 10,000 (`--limit 40000`). The data variance
          is that of the 50,000; of the 40,000 it is 0.0633691.

mlp       The usual VAE of MNIST, 784–400–20–400–784, as PyTorch's examples have it (pytorch/examples, vae/main.py), and
          the AE of that shape: `--data mnist`. Kingma & Welling's own (2014, arXiv:1312.6114) has tanh and 500 units.
"""

# What a VQ-VAE does about codes that fall out of use, beside `codebook_init`: nothing, unless asked. docs/codebooks.md
CODEBOOK = {
    "codebook_update": "gradient",
    "ema_decay": 0.99,
    "restart_after": 0,
    "entropy_weight": 0.0,
    "entropy_temperature": 1.0,
    "code_metric": "euclidean",
    "straight_through": "right",
}

# What else a VAE can ask of its KL: nothing, unless asked. docs/gaussian.md
RATE = {"free_bits": 0.0, "capacity": None}

# What a recipe has unless it says otherwise.
COMMON = {
    **CODEBOOK,
    **RATE,
    "network": "convolution",
    "weight_init": "uniform",
    "norm": "none",
    "sparsity": 0.0,
    "channels": (32, 64, 128),
    "widths": (400,),
    "hidden": 128,
    "residual_blocks": 2,
    "residual_channels": 32,
    "halvings": 2,
    "data_variance": 1.0,
}

PRESETS = {
    "small": {
        **COMMON,
        "latent_dim": 128,
        "beta": 0.1,
        "codes": 256,
        "code_dim": 8,
        "codebook_init": "uniform",
        "commitment": 0.25,
        "temperature": "exponential:4:0.25:1000",
        "hard": False,
        "kl_weight": "exponential:0.3:0.01:1000",
        "batch_size": 64,
        "lr": 1e-3,
        "epochs": 6,
    },
    "article": {
        **COMMON,
        "channels": (64, 128, 256),
        "latent_dim": 1024,
        "beta": 0.1,
        "codes": 4096,
        "code_dim": 128,
        "codebook_init": "xavier",
        "commitment": 1.0,
        "temperature": "exponential:4:0.25:15000",
        "hard": False,
        "kl_weight": "exponential:0.3:0.01:15000",
        "batch_size": 64,
        "lr": 1e-3,
        "epochs": 20,
    },
    "published": {
        **COMMON,
        "network": "residual",
        "weight_init": "truncated_normal",
        "codes": 512,
        "code_dim": 64,
        "codebook_init": "variance_scaling",
        "codebook_update": "ema",
        "commitment": 0.25,
        "data_variance": 0.0632869,
        "batch_size": 32,
        "lr": 3e-4,
        "epochs": None,
        "steps": 10000,
        "log_steps": 100,
    },
    "mlp": {
        **COMMON,
        "network": "mlp",
        "likelihood": "bernoulli",
        "latent_dim": 20,
        "beta": 1.0,
        "batch_size": 128,
        "lr": 1e-3,
        "epochs": 10,
    },
}

# Where a model's entries are not those of the preset. The article has no VQ-VAE-2; its paper's codebooks hold 512
# vectors of 64 numbers, and its commitment weighs 0.25. The dVAE's codes start well apart: mixtures of codes near 0 say
# nothing.
OWN_ENTRIES = {
    ("article", "vqvae2"): {"codes": 512, "code_dim": 64, "commitment": 0.25},
    ("small", "dvae"): {"codebook_init": "normal", "lr": 2e-3},
    ("article", "dvae"): {"codebook_init": "normal", "lr": 2e-3},
}

# Which model reads which of a preset's model options; all models read those of the network. The dVAE's logits have
# initial weights of their own.
MODEL_OPTIONS = {
    "ae": ("latent_dim", "sparsity", "weight_init"),
    "vae": ("latent_dim", "beta", "weight_init", *RATE),
    "vqvae": ("codes", "code_dim", "codebook_init", "commitment", "data_variance", "weight_init", *CODEBOOK),
    "vqvae2": ("codes", "code_dim", "codebook_init", "commitment", "data_variance", "weight_init", *CODEBOOK),
    "dvae": ("codes", "code_dim", "codebook_init", "temperature", "hard", "kl_weight"),
}

# {option: (the option that decides whether it counts, the choices with which it does)}
DEPENDENT_OPTIONS = {
    "momentum": ("optimizer", ("sgd",)),
    "weight_decay": ("optimizer", ("adam",)),
    "norm": ("network", ("convolution", "pooling", "residual")),
    "channels": ("network", ("convolution", "pooling")),
    "widths": ("network", ("mlp",)),
    "hidden": ("network", ("residual",)),
    "residual_blocks": ("network", ("residual",)),
    "residual_channels": ("network", ("residual",)),
    "halvings": ("network", ("residual",)),
}
