"""What makes a model good: phases, updates, early stopping, checkpoints."""
