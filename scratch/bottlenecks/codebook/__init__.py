"""What keeps the codes of a codebook in use, a cure a file. docs/codebooks.md derives and compares them."""
