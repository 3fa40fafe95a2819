"""A log becomes sequences: readers, preparation, storage, splits, named data sets, statistics."""
