"""The presets: named recipes of sizes, weights and settings. Options that are given override those of the preset.

A preset holds only what differs from the options' own defaults, which are the preset `small`. Its `of` holds what
differs for single systems, and its `systems` are those that it is made for.

small     The default: the article's models in smaller. They learn the generated shapes in about a minute on two cores.

article   N. Correll, "A deep-dive into Autoencoders (AE, VAE, and VQ-VAE) with code" (Toward Humanoids, 2025), for
          CIFAR-10. One line is not copied. The article prints its straight-through step as

              z_q = z_q + (z - z_q).detach()

          whose value is z. The decoder then receives the unquantized vector, the extra losses compare z with itself
          and are zero, and the printed program quantizes nothing. Here the line is z + (z_q - z).detach(), as van den
          Oord et al. (2017) define it: its value is z_q, and its gradient goes to z.
          The article has no dVAE. Here the dVAE has the VQ-VAE's channels and codebook. Its schedules of temperature
          and KL weight are those of `small`, stretched to the longer training. DALL·E's dVAE (Ramesh et al. 2021) goes
          from a temperature of 1 to 1/16 in 150,000 steps, with a KL weight that rises to 6.6.

published The VQ-VAE of van den Oord et al. (2017, arXiv:1711.00937) for CIFAR-10. Details that the paper leaves open
          are those of its authors' notebook (sonnet/examples/vqvae_example.ipynb of Sonnet 1). It trains for a number
          of steps instead of epochs, with a codebook of moving averages and Sonnet's initial weights. Two things
          differ from the notebook. Here an epoch is a shuffle of all images; the notebook draws from a window of
          10,000. Here the training set is all 50,000 images; the notebook leaves out the last 10,000, as the option
          limit does with 40000. The data variance is that of the 50,000 images; of the 40,000 it is 0.0633691.

mlp       The usual VAE of MNIST, 784–400–20–400–784, as in PyTorch's examples (pytorch/examples, vae/main.py), and the
          AE of that shape. The data are then mnist. Kingma & Welling's own VAE (2014, arXiv:1312.6114) has tanh and
          500 units.
"""

from dataclasses import dataclass, field

from scratch.options.errors import InputError
from scratch.options.option import listed, nearest


@dataclass(frozen=True)
class Preset:
    """A recipe: {option: value} for all its systems, {system: {option: value}} for single ones, and its systems.

    `systems` is None for a recipe for every system.
    """

    entries: dict
    of: dict = field(default_factory=dict)
    systems: tuple | None = None

    def fits(self, system):
        """Is the preset made for the system of this name?"""
        return self.systems is None or system in self.systems

    def values(self, system):
        """{option: value} for the system of this name."""
        return {**self.entries, **self.of.get(system, {})}


PRESETS = {
    "small": Preset({}),
    "article": Preset(
        {"channels": [64, 128, 256], "latent_dim": 1024, "codes": 4096, "code_dim": 128, "codebook_init": "xavier",
         "commitment": 1.0, "temperature": "exponential:4:0.25:15000", "kl_weight": "exponential:0.3:0.01:15000",
         "epochs": 20},
        # The article has no VQ-VAE-2: the codebook of 512 vectors of 64 numbers is that of the VQ-VAE-2's paper. The
        # dVAE's codes begin well apart, as in `small`.
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
    """The Preset of this name. Raises InputError if there is none, or if it is not made for the system."""
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}{nearest(name, PRESETS)}")
    if not PRESETS[name].fits(system):
        fitting = listed([other for other, preset in PRESETS.items() if preset.fits(system)], "or")
        raise InputError(f"{name} has no recipe for {system}: choose {fitting}.", "preset")
    return PRESETS[name]
