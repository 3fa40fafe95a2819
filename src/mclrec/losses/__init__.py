"""Losses as functions of tensors, each with its equation; the recommendation losses as objects over them."""
