"""A trained model answers queries: the same in Python, in bulk and over HTTP, by torch or by onnxruntime."""
