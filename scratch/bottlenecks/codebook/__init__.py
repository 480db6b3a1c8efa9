"""Cures for a codebook that uses few of its codes, one file each. docs/lessons/6_codebooks.md derives them."""
