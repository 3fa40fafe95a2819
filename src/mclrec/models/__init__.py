"""Models: one paper, one file. `registry` says which there are."""
