"""From options to a model: the networks, the bottleneck, the likelihood and the corruption that they choose."""

import numpy as np

import scratch.networks  # noqa: F401  defines the families of networks
from scratch.bottlenecks.bottleneck import Bottleneck, Surroundings
from scratch.layers.initialisation import WEIGHT_INIT, initialise_truncated_normal
from scratch.losses import LIKELIHOODS
from scratch.models.autoencoder import Autoencoder
from scratch.models.corruption import CORRUPTION, CORRUPTIONS, read_corruption
from scratch.networks.network import Network, Task
from scratch.options.errors import InputError
from scratch.options.option import Choice, Option

NETWORK = Option("network", Choice(Network.families), "convolution", "the encoder and the decoder")
LIKELIHOOD = Option("likelihood", Choice(LIKELIHOODS), "squared_error",
                    "the meaning of the decoder's output, which defines the reconstruction loss; categorical has 256 "
                    "outputs for each number of an image, which take memory and time")
SHARED = (LIKELIHOOD, NETWORK, WEIGHT_INIT, CORRUPTION)  # options of every autoencoder


def build_autoencoder(system, image_shape, options, *, dtype=np.float32, rng=None):
    """The autoencoder around the bottleneck of a system, for images of `image_shape` (H, W, C).

    system   a class of bottleneck, a value of Bottleneck.systems
    options  a value for each of the system's options; other entries are not used

    Raises InputError for images that the networks or the bottleneck cannot take.
    """
    rng = rng or np.random.default_rng()
    reconstruction = LIKELIHOODS[options["likelihood"]](dtype)
    family = Network.families[options["network"]]
    takes_codes = family.takes_codes and system.gives_codes
    task = Task(image_shape, reconstruction.outputs, reconstruction.is_image, system.halvings_inside,
                options["code_dim"] if takes_codes else None)
    networks = family.build(task, options, dtype, rng)
    around = Surroundings(networks.shape, networks.next_channels, takes_codes)
    bottleneck = system.chosen(options).build(around, options, dtype=dtype, rng=rng)
    corruption = None
    if options["corruption"]:
        kind, amount = read_corruption(options["corruption"])
        corruption = CORRUPTIONS[kind](amount, image_shape, dtype=dtype, rng=rng)
    autoencoder = Autoencoder(networks.encoder, bottleneck, networks.decoder, reconstruction,
                              bottleneck.weights(image_shape, options), corruption)
    if options.get("weight_init") == "truncated_normal":
        initialise_truncated_normal(autoencoder, rng)
    return autoencoder


def check_autoencoder(name, system, options, given):
    """Raise InputError if options exclude each other. `given` are those that were given; the rest are defaults."""
    family, likelihood = Network.families[options["network"]], LIKELIHOODS[options["likelihood"]]
    if system.needs_grid and not family.gives_grid:
        raise InputError(f"{family.name} gives a vector of features, but {name} needs a grid of them: choose "
                         f"another network.", "network")
    if family.only_one_output and likelihood.outputs > 1:
        raise InputError(f"{family.name} has one output for each number of the image, but the likelihood "
                         f"{options['likelihood']} needs {likelihood.outputs}: choose another one.", "network")
    if options.get("data_variance", 1.0) != 1 and not likelihood.takes_data_variance:
        raise InputError(f"{options['data_variance']} would divide the loss of the likelihood {options['likelihood']}, "
                         f"which is in nats and not a squared error: set it to 1.", "data_variance")
    system.chosen(options)
    system.check(options, given)


def systems():
    """{name: class of bottleneck}."""
    return Bottleneck.systems
