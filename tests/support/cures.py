"""The cures for unused codes in the combinations that are tested, as options of `vqvae`."""

CURES = {
    "ema": {"codebook_update": "ema", "ema_decay": 0.9},
    "restart": {"restart_after": 2},
    "entropy": {"entropy_weight": 0.1, "entropy_temperature": 0.5},
    "cosine": {"code_metric": "cosine"},
    "kmeans, ema, restart": {
        "codebook_init": "kmeans", "codebook_update": "ema", "ema_decay": 0.9, "restart_after": 2},
    "all": {
        "codebook_init": "kmeans", "codebook_update": "ema", "ema_decay": 0.9, "restart_after": 2,
        "entropy_weight": 0.1, "entropy_temperature": 0.5, "code_metric": "cosine"},
}
MOVING = [name for name, options in CURES.items() if options.keys() & {"codebook_update", "restart_after"}]
