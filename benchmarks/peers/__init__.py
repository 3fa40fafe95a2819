"""Measurements of the peers, run in their own environments; beside each other, they import only `benchmarks.child`."""
