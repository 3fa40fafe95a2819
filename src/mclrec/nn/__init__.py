"""Building blocks with plain keyword arguments: they depend on tensors and offsets, not on configurations or models."""
