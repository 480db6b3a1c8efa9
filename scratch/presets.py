"""The named recipes: sizes, weights and settings that `--preset` chooses and single options override.

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
"""

PRESETS = {
    "small": {
        "channels": (32, 64, 128),
        "latent_dim": 128,
        "beta": 0.1,
        "codes": 256,
        "code_dim": 8,
        "codebook_init": "uniform",
        "commitment": 0.25,
        "temperature": "exponential:2:0.25:800",
        "hard": False,
        "kl_weight": 0.1,
        "batch_size": 64,
        "lr": 1e-3,
        "epochs": 6,
    },
    "article": {
        "channels": (64, 128, 256),
        "latent_dim": 1024,
        "beta": 0.1,
        "codes": 4096,
        "code_dim": 128,
        "codebook_init": "xavier",
        "commitment": 1.0,
        "temperature": "exponential:2:0.25:13000",
        "hard": False,
        "kl_weight": 0.1,
        "batch_size": 64,
        "lr": 1e-3,
        "epochs": 20,
    },
}

# What a model has otherwise than its preset. The dVAE's codes start well apart: mixtures of codes near 0 say nothing.
OWN = {"dvae": {"codebook_init": "normal", "lr": 2e-3}}


def recipe(preset, model):
    """{option: value} of a preset for one of the models."""
    return {**PRESETS[preset], **OWN.get(model, {})}


# Which model reads which of a preset's model options; all models read `channels`.
MODEL_OPTIONS = {
    "ae": ("latent_dim",),
    "vae": ("latent_dim", "beta"),
    "vqvae": ("codes", "code_dim", "codebook_init", "commitment"),
    "dvae": ("codes", "code_dim", "codebook_init", "temperature", "hard", "kl_weight"),
}
