"""Cures for a codebook that uses few of its codes, one file each. docs/codebooks.md derives and compares them."""
