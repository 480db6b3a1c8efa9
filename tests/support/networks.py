"""Options of models that train in milliseconds, without PyTorch."""

TINY = {  # options of models that train in milliseconds
    "channels": (6, 8), "latent_dim": 5, "beta": 0.7, "codes": 32, "code_dim": 4, "codebook_init": "normal",
    "commitment": 0.25, "temperature": "exponential:1:0.25:40", "hard": False, "kl_weight": "linear:0.7:0.1:20",
}
RESIDUAL = TINY | {
    "network": "residual", "hidden": 8, "residual_blocks": 2, "residual_channels": 3, "halvings": 2,
    "data_variance": 0.06,
}
NETWORKS = {  # beside TINY's plain convolutions and RESIDUAL
    "pooling": TINY | {"network": "pooling"},
    "group norm": TINY | {"network": "convolution", "norm": "group"},
    "batch norm": TINY | {"network": "convolution", "norm": "batch"},
    "pooling, group norm": TINY | {"network": "pooling", "norm": "group"},
    "pooling, batch norm": TINY | {"network": "pooling", "norm": "batch"},
    "residual, group norm": RESIDUAL | {"norm": "group"},
    "residual, batch norm": RESIDUAL | {"norm": "batch"},
    "transformer": TINY | {"network": "transformer", "patch": 4, "width": 12, "heads": 3, "blocks": 2},
    "mlp": TINY | {"network": "mlp", "widths": (30, 20)},
}
