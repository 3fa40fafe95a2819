"""Training: phases, updates, early stopping, checkpoints."""
