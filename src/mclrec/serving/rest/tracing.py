"""Tracing with OpenTelemetry: one span per request, exported as the standard ``OTEL_*`` variables configure."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points, version
from time import perf_counter
from typing import Any

from mclrec.errors import ConfigError, quoted
from mclrec.extras import require
from mclrec.notices import tell

__all__ = ["Trace", "Tracing", "engine_time"]

_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_PROTOCOLS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
"""Entry points of OTLP exporters, keyed by the values of ``OTEL_EXPORTER_OTLP_PROTOCOL``."""


class Trace:
    """The span of one request, with attributes from the endpoints.

    Args:
        span: a started span of the SDK.

    Attributes:
        engine_seconds: computing time of the batches that the request was in.
    """

    __slots__ = ("_histories", "_items", "_models", "_span", "engine_seconds")

    def __init__(self, span: Any) -> None:
        self._span = span
        self._histories = self._items = 0
        self._models: list[str] = []
        self.engine_seconds = 0.0

    @property
    def trace_id(self) -> str:
        """Trace id, 32 hexadecimal digits."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def asks(self, model: str, histories: int, items: int) -> None:
        """Record what a model is asked for.

        Args:
            model: version of the model.
            histories: number of histories that it reads.
            items: total number of items requested.
        """
        self._histories += histories
        self._items += items
        if model not in self._models:
            self._models.append(model)

    def end(
        self, method: str, route: str, status: int, request: str, batch: int | None, arm: str | None
    ) -> None:
        """End the span.

        Args:
            method: HTTP method of the request.
            route: declared path of the route.
            status: status of the answer.
            request: id of the request.
            batch: size of the largest batch that the request was computed in, if any.
            arm: name of the arm that answered, if there are several.
        """
        if self._span.is_recording():
            known = method if method in _METHODS else "_OTHER"
            self._span.update_name(f"{known} {route}")
            self._span.set_attributes(
                {
                    "http.request.method": known,
                    "http.route": route,
                    "http.response.status_code": status,
                    "mclrec.request_id": request,
                    **({"error.type": str(status)} if status >= 500 else {}),
                    **({} if batch is None else {"mclrec.batch": batch}),
                    **({} if arm is None else {"mclrec.arm": arm}),
                    **self._told(),
                }
            )
            if status >= 500:
                from opentelemetry.trace import Status, StatusCode

                self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()

    def _told(self) -> dict[str, str | int | float]:
        if not self._models:
            return {}
        return {
            "mclrec.model": ",".join(self._models),
            "mclrec.histories": self._histories,
            "mclrec.items": self._items,
            "mclrec.engine.seconds": self.engine_seconds,
        }


@contextmanager
def engine_time(trace: Trace | None) -> Iterator[None]:
    """Add the duration of the block to the computing time of a trace, if there is one."""
    start = perf_counter()
    try:
        yield
    finally:
        if trace is not None:
            trace.engine_seconds += perf_counter() - start


class Tracing:
    """Starts a span for each request, as part of the trace that its ``traceparent`` names, if any.

    Args:
        provider: a ``TracerProvider`` of the SDK, which samples, collects and exports spans.
    """

    def __init__(self, provider: Any) -> None:
        from opentelemetry import propagate
        from opentelemetry.trace import SpanKind

        self._provider, self._kind = provider, SpanKind.SERVER
        self._tracer = provider.get_tracer("mclrec.serving", version("mclrec"))
        self._propagator = propagate.get_global_textmap()
        self._fields = [(name.lower().encode(), name) for name in self._propagator.fields]

    @classmethod
    def of_environment(cls) -> Tracing | None:
        """Tracing configured by the ``OTEL_*`` variables: exporter, address, headers, sampler, resource, batch sizes.

        Returns:
            None if the variables switch tracing off, which is reported as a warning.

        Raises:
            ConfigError: the extra or an exporter is not installed, or a variable is wrong.
        """
        require("traces")
        if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            tell("warning", "no traces are sent: OTEL_SDK_DISABLED is true")
            return None
        with _reporting_variables():
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor

            exporters = [_exporter(name) for name in _names_of_exporters()]
            if not exporters:
                tell("warning", "no traces are sent: OTEL_TRACES_EXPORTER is none")
                return None
            provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
            for exporter in exporters:
                provider.add_span_processor(BatchSpanProcessor(exporter))
            return cls(provider)

    def begin(self, headers: Mapping[bytes, bytes]) -> Trace:
        """Start the span of a request.

        Args:
            headers: headers of the request, by lower-case name.
        """
        carrier = {name: headers[raw].decode("latin-1") for raw, name in self._fields if raw in headers}
        parent = self._propagator.extract(carrier) if carrier else None
        return Trace(self._tracer.start_span("HTTP", context=parent, kind=self._kind))

    def close(self) -> None:
        """Send the remaining spans."""
        self._provider.shutdown()


def _names_of_exporters() -> list[str]:
    """Names of the exporters listed in ``OTEL_TRACES_EXPORTER``."""
    names = [name.strip() for name in (os.environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(",")]
    return [name for name in names if name not in ("", "none")]


def _exporter(name: str) -> Any:
    """Create an exporter by name.

    Raises:
        ConfigError: no installed package provides it, or one of its variables is wrong.
    """
    entry = name
    if name == "otlp":
        variables = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
        protocol = next(filter(None, map(os.environ.get, variables)), "http/protobuf")
        if protocol not in _PROTOCOLS:
            raise ConfigError(
                f"OTEL_EXPORTER_OTLP_PROTOCOL: {quoted(protocol)} is not supported: {' or '.join(_PROTOCOLS)}"
            )
        entry = _PROTOCOLS[protocol]
    found = list(entry_points(group="opentelemetry_traces_exporter", name=entry))
    if not found:
        package = f"opentelemetry-exporter-{entry.replace('_', '-')}"
        raise ConfigError(
            f"OTEL_TRACES_EXPORTER: no exporter {quoted(entry)} is installed; otlp, console and none always work, "
            f"and pip install {package} may provide it"
        )
    try:
        return found[0].load()()
    except Exception as problem:  # exporters raise errors of any kind for their variables
        raise ConfigError(f"OTEL_TRACES_EXPORTER: {name} cannot be used: {problem}") from None


def _resource() -> Any:
    """Attributes of this process for all spans; the service is named mclrec if no variable names it."""
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource

    found = Resource.create()
    ours = {SERVICE_NAME: "mclrec", SERVICE_VERSION: version("mclrec")}
    named = not str(found.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service")
    return found if named else found.merge(Resource(ours))


class _WarningHandler(logging.Handler):
    """Reports what a library logs as a warning of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        tell("warning", record.getMessage())


@contextmanager
def _reporting_variables() -> Iterator[None]:
    """Report what the SDK finds wrong with variables while it reads them; it usually falls back to defaults.

    Raises:
        ConfigError: the SDK raises an error instead.
    """
    logger, handler = logging.getLogger("opentelemetry"), _WarningHandler(logging.WARNING)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    try:
        yield
    except ValueError as problem:
        raise ConfigError(f"an OTEL_* variable is wrong: {problem}") from None
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
