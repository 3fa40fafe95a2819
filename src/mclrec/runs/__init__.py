"""Runs: from data, recipe and seed to a directory with a trained model and its metrics."""
