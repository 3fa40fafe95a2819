"""Evaluation: protocols, exact ranks, metrics and their significance."""
