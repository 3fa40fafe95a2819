"""Telemetry of the service: metrics for Prometheus, and logs in JSON, one line per event."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from time import time
from typing import TextIO

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

__all__ = ["Metrics", "configure_logs", "log_event", "log_request"]

disable_created_metrics()  # type: ignore[no-untyped-call]  # creation times would double the text

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters, gauges and histograms of one service, in a separate registry, so that a process can have several.

    Args:
        several: whether there are several models, whose series are then labelled with ``arm``.
    """

    def __init__(self, several: bool = False) -> None:
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
        self.in_flight = Gauge("mclrec_in_flight", "Requests in progress.", registry=self.registry)
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
            "Answers with popular items, because no item of the history was known.",
            registry=self.registry,
        )
        self.reloads = Counter("mclrec_reloads", "Reloads by outcome.", ["outcome"], registry=self.registry)
        self.sessions = Gauge("mclrec_sessions", "Sessions that are kept.", registry=self.registry)
        self.session_items = Counter(
            "mclrec_session_items", "Items that events have added to sessions.", registry=self.registry
        )
        self.session_items_dropped = Counter(
            "mclrec_session_items_dropped",
            "Oldest items of sessions that were too long.",
            registry=self.registry,
        )
        self.sessions_dropped = Counter(
            "mclrec_sessions_dropped",
            "Sessions that were dropped, by reason: expired, room, damaged.",
            ["reason"],
            registry=self.registry,
        )
        self.session_misses = Counter(
            "mclrec_session_misses",
            "Requests for a session that is unknown or expired.",
            registry=self.registry,
        )
        self.session_errors = Counter(
            "mclrec_session_errors",
            "Requests for which sessions could not be read or written, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.assigned = Counter(
            "mclrec_assigned",
            "Requests for recommendations by the arm that answers, and by what chose it.",
            ["arm", "by"],
            registry=self.registry if several else None,
        )
        labels = ["arm"] if several else []
        self._several = several
        self._model = Info("mclrec_model", "The model that answers.", labels, registry=self.registry)
        self._told: dict[tuple[str, int], tuple[Histogram, list[Counter]]] = {}
        ProcessCollector(registry=self.registry)

    def watch(
        self,
        queue: Callable[[], int],
        connections: Callable[[], int],
        in_flight: Callable[[], int],
        sessions: Callable[[], int],
    ) -> None:
        """Register the functions that return the current values of the gauges."""
        self.queue.set_function(queue)
        self.connections.set_function(connections)
        self.in_flight.set_function(in_flight)
        self.sessions.set_function(sessions)

    def show_model(self, name: str, version: str, engine: str, items: int, arm: str = "") -> None:
        """Publish the model in use from now on."""
        shown = self._model.labels(arm) if self._several else self._model
        shown.info({"name": name, "version": version, "engine": engine, "items": str(items)})

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Record one request."""
        if (told := self._told.get((route, status))) is None:
            told = self._told[route, status] = self._children(route, str(status))
        told[0].observe(seconds)
        for counter in told[1]:
            counter.inc()

    def _children(self, route: str, status: str) -> tuple[Histogram, list[Counter]]:
        """The metrics for requests of a route and status, which `observe` caches: a look-up takes a microsecond."""
        errors = [self.errors.labels(status)] if int(status) >= 400 else []
        return self.seconds.labels(route), [self.requests.labels(route, status), *errors]

    def text(self) -> bytes:
        """All metrics in Prometheus' exposition format."""
        return generate_latest(self.registry)


_LOGGER = logging.getLogger("mclrec.serving")


_ENCODE = json.JSONEncoder(ensure_ascii=False).encode


def _line(created: float, level: str, fields: Mapping[str, object]) -> str:
    """An event as a JSON object."""
    moment = datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds")
    return _ENCODE({"time": moment, "level": level, **fields})


class _Lines(logging.Formatter):
    """Formats records as JSON objects: the fields of our events, the message of other libraries' records."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", None) or {"event": record.name, "message": record.getMessage()}
        if record.exc_info:
            fields = {**fields, "trace": self.formatException(record.exc_info)}
        return _line(record.created, record.levelname.lower(), fields)


class _Log(logging.StreamHandler[TextIO]):
    """Writes records at once, and all request lines of one event loop iteration together, in one system call."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.setFormatter(_Lines())
        self._requests: list[str] = []

    def add(self, fields: Mapping[str, object]) -> None:
        """Queue the line of a request, which is written in the next iteration of the event loop."""
        if not self._requests:
            asyncio.get_running_loop().call_soon(self.flush)
        self._requests.append(_line(time(), "info", fields))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, after the queued lines of earlier requests."""
        self.flush()
        super().emit(record)

    def flush(self) -> None:
        """Write the queued lines; if that fails they are lost, as a record would be."""
        self.acquire()
        try:
            lines, self._requests = self._requests, []
            with suppress(OSError, ValueError):
                if lines:
                    self.stream.write("\n".join([*lines, ""]))
                super().flush()
        finally:
            self.release()


def configure_logs(stream: TextIO | None = None) -> None:
    """Send our events and the server's errors to ``stream``, the error stream by default."""
    handler = _Log(stream or sys.stderr)
    # Uvicorn warns of each malformed request; the metrics count these.
    for name, level in (
        ("mclrec.serving", logging.INFO),
        ("uvicorn", logging.ERROR),
        ("asyncio", logging.ERROR),
        ("opentelemetry", logging.ERROR),
    ):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


def log_event(event: str, fields: Mapping[str, object], error: BaseException | None = None) -> None:
    """Log one event; with ``error``, as an error with its traceback."""
    level = logging.INFO if error is None else logging.ERROR
    if _LOGGER.isEnabledFor(level):
        _LOGGER.log(level, event, exc_info=error, extra={"fields": {"event": event, **fields}})


def log_request(fields: Mapping[str, object]) -> None:
    """Log a request, like `log_event` but without a log record, which would cost more than everything else."""
    if not _LOGGER.isEnabledFor(logging.INFO):
        return
    match _LOGGER.handlers:
        case [_Log() as log]:
            log.add({"event": "request", **fields})
        case _:
            log_event("request", fields)
