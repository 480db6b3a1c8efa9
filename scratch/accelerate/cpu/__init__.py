"""Faster forms for the CPU: convolutions in fewer products, blocks for the cache, threads that share a batch."""
