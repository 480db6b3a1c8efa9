"""The oracle: the same systems in idiomatic PyTorch, where autograd does the backward."""
