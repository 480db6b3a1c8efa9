"""The oracle: the systems of `scratch` in idiomatic PyTorch, where autograd does the backward."""
