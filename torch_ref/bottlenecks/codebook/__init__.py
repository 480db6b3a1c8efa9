"""What keeps the codes of a VQ-VAE in use, and what its quantizer can be instead."""
