"""Losses as functions of tensors, each with its equation, and the recommendation losses as objects that use them."""
