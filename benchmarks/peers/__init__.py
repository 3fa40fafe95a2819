"""Measurements of the peers, run in their own environments; of our code they import `benchmarks.child` only."""
