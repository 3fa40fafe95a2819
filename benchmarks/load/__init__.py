"""Load on a machine or a service, made for a measurement."""
