"""The plain autoencoder's variants, groups of codes, and corruptions of every kind, as options.

These are the combinations that are tested.
"""

CORRUPTIONS = ("gaussian:0.3", "masking:0.3", "salt_and_pepper:0.2")
VARIANTS = {  # name: (model, options)
    "sparse": ("ae", {"sparsity": "linear:0.1:0.5:20"}),
    "linear": ("ae", {"network": "linear"}),
    "sparse and linear": ("ae", {"network": "linear", "sparsity": 0.1}),
    "linear vae": ("vae", {"network": "linear"}),
    "denoising, gaussian": ("ae", {"corruption": "gaussian:0.3"}),
    "denoising, masking": ("ae", {"corruption": "masking:0.3"}),
    "denoising, salt and pepper": ("ae", {"corruption": "salt_and_pepper:0.2"}),
    "denoising vae": ("vae", {"corruption": "gaussian:0.3"}),
    "denoising vqvae": ("vqvae", {"corruption": "masking:0.3"}),
    "denoising vqvae2": ("vqvae2", {"corruption": "masking:0.3"}),
    "groups of codes": ("vqvae", {"code_groups": 2, "code_dim": 8}),
    "denoising dvae": ("dvae", {"corruption": "salt_and_pepper:0.2"}),
}
