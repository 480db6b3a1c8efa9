"""What judges a model and is not part of it."""
