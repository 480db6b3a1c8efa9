"""Faster forms for the CPU: convolutions in fewer products, layers of tokens in fewer passes, blocks for the cache,
threads that share a batch."""
