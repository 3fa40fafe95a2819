"""Measurements of others, run by the interpreters of their own environments: imports nothing of ours but `child`."""
