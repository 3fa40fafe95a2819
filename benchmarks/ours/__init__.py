"""Measurements of mclrec, each a child process that runs the same code as a user does."""
