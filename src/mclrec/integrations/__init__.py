"""Integrations with other libraries: RecBole's configurations and checkpoints, and a model for RecTools."""
