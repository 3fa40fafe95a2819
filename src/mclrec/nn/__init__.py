"""Building blocks with plain keyword arguments: they know tensors and offsets, no configuration and no model."""
