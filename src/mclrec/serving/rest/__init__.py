"""The REST service: endpoints, limits, API keys, metrics, logs, model reload and graceful shutdown."""
