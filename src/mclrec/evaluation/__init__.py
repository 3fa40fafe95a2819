"""What a model is worth: protocols, exact ranks, metrics and their significance."""
