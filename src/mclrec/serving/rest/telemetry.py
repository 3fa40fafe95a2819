"""Telemetry of the service: metrics for Prometheus, and logs as JSON, one line an event."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest

__all__ = ["Metrics", "configure_logs", "log_event"]

disable_created_metrics()  # type: ignore[no-untyped-call]  # a time beside each number doubles the text

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters, gauges and histograms of one service, in a registry of its own: several may live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.seconds = Histogram(
            "mclrec_request_seconds",
            "Time from the head of a request to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.requests = Counter(
            "mclrec_requests", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self.errors = Counter(
            "mclrec_errors", "Answers with a status of 400 or more.", ["status"], registry=self.registry
        )
        self.in_flight = Gauge("mclrec_in_flight", "Requests that are under way.", registry=self.registry)
        self.batches = Histogram(
            "mclrec_batch_size",
            "Histories that the model read at once.",
            buckets=_SIZES,
            registry=self.registry,
        )
        self.queue = Gauge(
            "mclrec_queue_length", "Histories that wait for the model.", registry=self.registry
        )
        self.connections = Gauge("mclrec_connections", "Open connections.", registry=self.registry)
        self.unknown = Counter(
            "mclrec_unknown_items", "Items of histories that the model does not know.", registry=self.registry
        )
        self.popular = Counter(
            "mclrec_popular_answers",
            "Answers with popular items, for want of a history.",
            registry=self.registry,
        )
        self.reloads = Counter("mclrec_reloads", "Reloads by outcome.", ["outcome"], registry=self.registry)
        self._model = Info("mclrec_model", "The model that answers.", registry=self.registry)
        ProcessCollector(registry=self.registry)

    def watch(
        self, queue: Callable[[], int], connections: Callable[[], int], in_flight: Callable[[], int]
    ) -> None:
        """Register the functions that return the current values of the gauges."""
        self.queue.set_function(queue)
        self.connections.set_function(connections)
        self.in_flight.set_function(in_flight)

    def show_model(self, name: str, version: str, engine: str, items: int) -> None:
        """Name the model that answers from now on."""
        self._model.info({"name": name, "version": version, "engine": engine, "items": str(items)})

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self.seconds.labels(route).observe(seconds)
        self.requests.labels(route, str(status)).inc()
        if status >= 400:
            self.errors.labels(str(status)).inc()

    def text(self) -> bytes:
        """All metrics in Prometheus' exposition format."""
        return generate_latest(self.registry)


_LOGGER = logging.getLogger("mclrec.serving")


class _Lines(logging.Formatter):
    """A record as a JSON object; events carry their fields, other libraries' records their message."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = {"time": time, "level": record.levelname.lower()}
        fields |= getattr(record, "fields", None) or {"event": record.name, "message": record.getMessage()}
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def configure_logs(stream: TextIO | None = None) -> None:
    """Send our events and the server's errors to ``stream``, the error stream by default."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Lines())
    # The server warns of each malformed request; these are in the metrics.
    for name, level in (
        ("mclrec.serving", logging.INFO),
        ("uvicorn", logging.ERROR),
        ("asyncio", logging.ERROR),
    ):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


def log_event(event: str, fields: Mapping[str, object], error: BaseException | None = None) -> None:
    """Write one event; with ``error`` also where it came from."""
    level = logging.INFO if error is None else logging.ERROR
    if _LOGGER.isEnabledFor(level):
        _LOGGER.log(level, event, exc_info=error, extra={"fields": {"event": event, **fields}})
