"""The systems by name: `state_dict()` is interchangeable with scratch's, in both directions."""

import torch

from torch_ref.bottlenecks import Bottleneck
from torch_ref.layers.initialisation import WEIGHT_INIT, start_from_truncated_normal
from torch_ref.losses import LIKELIHOODS
from torch_ref.models.autoencoder import Autoencoder
from torch_ref.models.corruption import Corruption, read_corruption
from torch_ref.models.model import Model
from torch_ref.networks import NETWORKS
from torch_ref.options import Option, choice_of, complete, nearest, optional

COMMON = {  # the options of every system
    "network": choice_of(NETWORKS),
    "likelihood": choice_of(LIKELIHOODS),
    "corruption": optional(Option(None, read_corruption)),
}


def system(model):
    """The bottleneck of the system `model`, or a Model that is no autoencoder. Raises ValueError for an unknown name.
    """
    known = Bottleneck.systems | Model.systems
    if not isinstance(model, str) or model not in known:
        raise ValueError(f"unknown model {model!r}{nearest(model, sorted(known))}")
    return known[model]


def declared_options(model, network=COMMON["network"].default):
    """{name: Option} of all that `build` takes for a system with this network.

    Raises ValueError for an unknown model or network.
    """
    bottleneck = system(model)
    if issubclass(bottleneck, Model):
        return bottleneck.options
    complete({"network": network}, COMMON)  # is there such a network?
    own = {} if bottleneck.own_weight_init else {"weight_init": WEIGHT_INIT}
    return COMMON | own | NETWORKS[network].options | bottleneck.declared()


def model_options(model, options):
    """What `build` takes, out of the options of a whole run.

    The rest belongs to training, to other systems or to other networks. Whoever made the options of the run, such as
    the command line, has checked their names. Raises ValueError for an unknown model or network.
    """
    network = options.get("network", COMMON["network"].default)
    return {name: options[name] for name in declared_options(model, network) if name in options}


def check_names(model, options, declared):
    """Raises ValueError for a name that neither this system nor this network has as an option."""
    for name in options:
        if name in declared:
            continue
        owners = [other for other, kind in Bottleneck.systems.items() if name in kind.declared()]
        owners += [other for other, kind in Model.systems.items() if name in kind.options]
        owners += [f"network {other!r}" for other, network in NETWORKS.items() if name in network.options]
        if owners:
            beside = f" with network {options.get('network', COMMON['network'].default)!r}" if "network" in declared \
                else ""
            raise ValueError(f"{name!r} is an option of {' and '.join(owners)}; {model}{beside} has none of that name")
        raise ValueError(f"{name!r} is not an option of {model}{nearest(name, declared)}")


def build(model, image_shape, options, *, dtype=torch.float32):
    """The system `model`, a name in `Bottleneck.systems`, for images of `image_shape` (H, W, C); or one in
    `Model.systems`, for examples of that shape.

    `options` holds some of `declared_options(model, network)`; those left out have their defaults. The weights are
    PyTorch's default ones, or Sonnet's where `weight_init` asks for them; torch.manual_seed decides.

    Raises ValueError for a name, a value or a combination that there is not. `model_options` picks what is the model's
    out of the options of a run.
    """
    declared = declared_options(model, options.get("network", COMMON["network"].default))
    check_names(model, options, declared)
    options = complete(options, declared)
    if model in Model.systems:
        return Model.systems[model].from_options(image_shape, options, dtype)
    network, likelihood = NETWORKS[options["network"]], LIKELIHOODS[options["likelihood"]]
    bottleneck = system(model).variant_for(options)
    if bottleneck.needs_grid and not network.has_grid:
        raise ValueError(f"network is {options['network']!r}, which has no grid of features, and {model} gives each "
                         f"place of a grid a code: choose another network")
    if not likelihood.takes_data_variance and options.get("data_variance", 1) != 1:
        raise ValueError(f"data_variance is {options['data_variance']}, and likelihood is {options['likelihood']!r}, "
                         f"whose loss is in nats and has to stay so: set data_variance to 1")
    reconstruction = likelihood(dtype)
    ends = network.build(image_shape, likelihood, bottleneck, options, dtype)
    bottleneck = bottleneck.from_options(options, ends, dtype)
    weights = bottleneck.weights(options, image_shape)
    corruption = Corruption(options["corruption"], image_shape) if options["corruption"] else None
    autoencoder = Autoencoder(ends.encoder, bottleneck, ends.decoder, reconstruction, weights, corruption)
    if options.get("weight_init") == "truncated_normal":
        autoencoder.apply(start_from_truncated_normal)
    return autoencoder
