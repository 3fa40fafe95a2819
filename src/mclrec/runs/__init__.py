"""Runs: data, recipe and seed in, a directory with a trained model and its numbers out."""
