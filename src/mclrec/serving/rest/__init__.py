"""The REST service: requests in, answers out; limits, keys, metrics, logs, reload and an orderly end."""
