from torch_ref.models.autoencoder import build  # noqa: F401
