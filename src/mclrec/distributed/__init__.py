"""Training by several processes: who they are, what they exchange, and which rows of the item table each has."""
