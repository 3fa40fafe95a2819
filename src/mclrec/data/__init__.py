"""From a log to sequences: readers, preparation, storage, splits, named data sets, statistics."""
