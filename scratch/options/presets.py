"""The named recipes: sizes, weights and settings that `--preset` chooses and single options override.

A preset says only what differs from the options' own defaults, which are those of `small`. `of` says what differs for
one system, `systems` for which systems it is a recipe at all.

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

from dataclasses import dataclass, field

from scratch.options.errors import InputError
from scratch.options.option import listed, nearest


@dataclass(frozen=True)
class Preset:
    """A named recipe: {option: value}, the same of single systems, and the systems that it is for (None: all)."""

    entries: dict
    of: dict = field(default_factory=dict)
    systems: tuple | None = None

    def fits(self, system):
        return self.systems is None or system in self.systems

    def values(self, system):
        return {**self.entries, **self.of.get(system, {})}


PRESETS = {
    "small": Preset({}),
    "article": Preset(
        {"channels": [64, 128, 256], "latent_dim": 1024, "codes": 4096, "code_dim": 128, "codebook_init": "xavier",
         "commitment": 1.0, "temperature": "exponential:4:0.25:15000", "kl_weight": "exponential:0.3:0.01:15000",
         "epochs": 20},
        # The article has no VQ-VAE-2; its paper's codebooks hold 512 vectors of 64 numbers. The dVAE's codes begin well
        # apart, as in `small`.
        of={"vqvae2": {"codes": 512, "code_dim": 64, "commitment": 0.25}, "dvae": {"codebook_init": "normal"}}),
    "published": Preset(
        {"network": "residual", "weight_init": "truncated_normal", "codes": 512, "code_dim": 64,
         "codebook_init": "variance_scaling", "codebook_update": "ema", "data_variance": 0.0632869, "batch_size": 32,
         "lr": 3e-4, "epochs": None, "steps": 10000, "log_steps": 100},
        systems=("vqvae", "vqvae2")),
    "mlp": Preset(
        {"network": "mlp", "likelihood": "bernoulli", "latent_dim": 20, "beta": 1.0, "batch_size": 128, "epochs": 10},
        systems=("ae", "vae")),
}


def preset_for(system, name):
    """The Preset of this name. Raises InputError where there is none, or where it is no recipe of the system."""
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}{nearest(name, PRESETS)}")
    if not PRESETS[name].fits(system):
        fitting = listed([other for other, preset in PRESETS.items() if preset.fits(system)], "or")
        raise InputError(f"{name} has no recipe for {system}: choose {fitting}.", "preset")
    return PRESETS[name]
