"""Serving a trained model: a REST service, and a page to try it out."""
