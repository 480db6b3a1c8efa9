"""Cures for a codebook of which few codes are in use, one file each. docs/codebooks.md derives and compares them."""
