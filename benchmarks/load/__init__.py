"""Load generators for measurements: processes that keep cores busy, and requests to a service."""
