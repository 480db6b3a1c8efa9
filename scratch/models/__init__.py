"""Whole models: the autoencoder, what corrupts its input, and the simple priors it is sampled from."""

from scratch.models import code_rows, judge  # noqa: F401  define systems
