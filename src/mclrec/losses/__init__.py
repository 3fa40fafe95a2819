"""Functions of tensors only: scores or vectors in, losses out, with the equation in each docstring."""
