"""Logs as JSON, one line an event: requests, reloads, the start and the end."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

__all__ = ["configure_logs", "log_event"]

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
