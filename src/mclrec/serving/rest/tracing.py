"""Traces of requests by OpenTelemetry: a span each, sent to where the standard ``OTEL_*`` variables say."""

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
"""Exporters of OTLP by the values of ``OTEL_EXPORTER_OTLP_PROTOCOL``, as entry points of packages name them."""


class Trace:
    """The span of one request, and what endpoints tell of it.

    Args:
        span: of the SDK; it has begun.

    Attributes:
        engine_seconds: that the model worked on the batches of the request.
    """

    __slots__ = ("_histories", "_items", "_models", "_span", "engine_seconds")

    def __init__(self, span: Any) -> None:
        self._span = span
        self._histories = self._items = 0
        self._models: list[str] = []
        self.engine_seconds = 0.0

    @property
    def trace_id(self) -> str:
        """Id of the trace, 32 hexadecimal digits."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def asks(self, model: str, histories: int, items: int) -> None:
        """Note what a model is asked for.

        Args:
            model: its version.
            histories: number of histories that it reads.
            items: number of items that all lists together have.
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
            method: of the request.
            route: as it was declared.
            status: of the answer.
            request: its id.
            batch: size of the largest batch that a history of it was in, if any was.
            arm: name of the model that answered, where there are several.
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
    """Add the time of the block to that of the model in a trace, if there is one."""
    start = perf_counter()
    try:
        yield
    finally:
        if trace is not None:
            trace.engine_seconds += perf_counter() - start


class Tracing:
    """Begins a span for each request, as part of the trace that its ``traceparent`` names if there is one.

    Args:
        provider: a ``TracerProvider`` of the SDK, which samples, collects and sends spans.
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
        """Tracing as the ``OTEL_*`` variables want it: exporter, address, headers, sampler, resource, sizes of batches.

        Returns:
            None where they switch it off, which is told.

        Raises:
            ConfigError: the extra or an exporter is not installed, or a variable is wrong.
        """
        require("traces")
        if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            tell("warning", "no traces are sent: OTEL_SDK_DISABLED is true")
            return None
        with _told_of_variables():
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
        """Begin the span of a request.

        Args:
            headers: of the request, by names in lower case.
        """
        carrier = {name: headers[raw].decode("latin-1") for raw, name in self._fields if raw in headers}
        parent = self._propagator.extract(carrier) if carrier else None
        return Trace(self._tracer.start_span("HTTP", context=parent, kind=self._kind))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def _names_of_exporters() -> list[str]:
    """Names of exporters, as ``OTEL_TRACES_EXPORTER`` lists them."""
    names = [name.strip() for name in (os.environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(",")]
    return [name for name in names if name not in ("", "none")]


def _exporter(name: str) -> Any:
    """An exporter by its name.

    Raises:
        ConfigError: no installed package has it, or a variable of its is wrong.
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
            f"and pip install {package} may bring it"
        )
    try:
        return found[0].load()()
    except Exception as problem:  # whatever an exporter makes of its variables
        raise ConfigError(f"OTEL_TRACES_EXPORTER: {name} cannot be used: {problem}") from None


def _resource() -> Any:
    """What spans say of this process; the service is called mclrec where no variable names it."""
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource

    found = Resource.create()
    ours = {SERVICE_NAME: "mclrec", SERVICE_VERSION: version("mclrec")}
    named = not str(found.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service")
    return found if named else found.merge(Resource(ours))


class _Told(logging.Handler):
    """Tells what a library logs as a warning of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        tell("warning", record.getMessage())


@contextmanager
def _told_of_variables() -> Iterator[None]:
    """Tell what the SDK finds wrong with variables while it reads them; it takes defaults for these and goes on.

    Raises:
        ConfigError: it does not go on.
    """
    logger, handler = logging.getLogger("opentelemetry"), _Told(logging.WARNING)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    try:
        yield
    except ValueError as problem:
        raise ConfigError(f"a variable OTEL_* is wrong: {problem}") from None
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
