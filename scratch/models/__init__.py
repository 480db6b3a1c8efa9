"""Whole models: the autoencoder, what corrupts its input, and the simple priors it is sampled from."""
