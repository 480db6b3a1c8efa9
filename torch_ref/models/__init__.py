"""The systems: `build` makes one by its name."""

from torch_ref.models.autoencoder import Autoencoder
from torch_ref.models.code_prior import CodePrior
from torch_ref.models.judge import Judge
from torch_ref.models.model import Model
from torch_ref.models.systems import build, declared_options, model_options

__all__ = ["Autoencoder", "CodePrior", "Judge", "Model", "build", "declared_options", "model_options"]
