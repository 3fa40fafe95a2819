"""Inference: a trained model answers queries identically in Python, bulk and over HTTP, with torch or onnxruntime."""
