"""Measurements of ours, each a child process; all through the public path, with nothing taken out."""
