"""Traces: one span per request, with or without the shortcut, exported according to OpenTelemetry's variables."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from tests.serving.rest.conftest import Counting, client, free_port, serving, until
from tests.serving.rest.test_direct import KEY, answer, draw_request, service

from mclrec.errors import ConfigError
from mclrec.serving.rest.keys import Keys
from mclrec.serving.rest.telemetry import configure_logs
from mclrec.serving.rest.tracing import Tracing

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CONTEXT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture(autouse=True)
def _no_logs_later() -> Iterator[None]:
    yield
    for name in ("mclrec.serving", "opentelemetry"):
        logging.getLogger(name).handlers.clear()


class Collected:
    """Tracing with an in-memory exporter."""

    def __init__(self, **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False, **options)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing(provider)

    def spans(self) -> list[ReadableSpan]:
        """The spans since the last call."""
        found = list(self.exporter.get_finished_spans())
        self.exporter.clear()
        return found


def facts(span: ReadableSpan) -> dict[str, Any]:
    assert span.attributes is not None
    return dict(span.attributes)


def test_a_span_tells_route_status_items_model_and_time() -> None:
    collected = Collected()

    async def run() -> None:
        async with client(tracing=collected.tracing) as (http, _):
            asked = {"history": ["item 01", "item 02"], "k": 7}
            await http.post("/recommend", json=asked, headers={"x-request-id": "mine"})
            [span] = collected.spans()
            told = facts(span)
            assert (span.name, span.kind) == ("POST /recommend", SpanKind.SERVER)
            assert span.parent is None
            assert 0 < told.pop("mclrec.engine.seconds") < 5
            assert told == {
                "http.request.method": "POST",
                "http.route": "/recommend",
                "http.response.status_code": 200,
                "mclrec.request_id": "mine",
                "mclrec.batch": 1,
                "mclrec.model": "counting-1",
                "mclrec.histories": 1,
                "mclrec.items": 7,
            }
            await http.post("/recommend/batch", json={"requests": [asked, {"history": [], "k": 3}]})
            [span] = collected.spans()
            assert span.name == "POST /recommend/batch"
            assert (facts(span)["mclrec.histories"], facts(span)["mclrec.items"]) == (2, 10)
            await http.get("/similar/item 01?k=5")
            [span] = collected.spans()
            assert span.name == "GET /similar/{item}"
            assert facts(span)["mclrec.items"] == 5
            assert facts(span)["mclrec.engine.seconds"] > 0

    asyncio.run(run())


def test_a_traceparent_is_taken_over_and_a_broken_one_is_not() -> None:
    collected = Collected()

    async def run() -> None:
        async with client(tracing=collected.tracing) as (http, _):
            for path in ("/recommend", "/health"):
                ask = (
                    http.get(path, headers={"traceparent": CONTEXT, "tracestate": "shop=1"})
                    if path == "/health"
                    else http.post(path, json={"history": []}, headers={"traceparent": CONTEXT})
                )
                await ask
                [span] = collected.spans()
                assert span.parent is not None
                assert f"{span.parent.trace_id:032x}" == f"{span.get_span_context().trace_id:032x}" == TRACE
                assert f"{span.parent.span_id:016x}" == SPAN
            for broken in ("", "x", CONTEXT[:-1], CONTEXT.replace("00-", "ff-", 1), "é" * 600, CONTEXT * 20):
                await http.get("/health", headers={b"traceparent": broken.encode("latin-1")})
                [span] = collected.spans()
                assert span.parent is None
            await http.get("/health", headers={"traceparent": CONTEXT[:-1] + "0"})
            assert collected.spans() == []  # the caller's flags say not to sample

    asyncio.run(run())


def test_failures_have_spans_and_only_ours_are_errors() -> None:
    collected = Collected()

    async def run() -> None:
        async with client(tracing=collected.tracing, keys=Keys([KEY])) as (http, _):
            keyed = {"authorization": f"Bearer {KEY}"}
            poison = {"history": ["item 13"] * 3}
            requests: list[tuple[str, str, Any, dict[str, str], int, str]] = [
                ("POST", "/recommend", poison, keyed, 500, "POST /recommend"),
                ("POST", "/recommend", {"history": 1}, keyed, 422, "POST /recommend"),
                ("POST", "/recommend", {"history": []}, {}, 401, "POST /recommend"),
                ("GET", "/similar/nothing", None, keyed, 404, "GET /similar/{item}"),
                ("GET", "/no/such/page", None, keyed, 404, "GET other"),
                ("BREW", "/recommend", None, keyed, 405, "_OTHER /recommend"),
            ]
            for method, path, body, headers, status, name in requests:
                await http.request(method, path, json=body, headers=headers)
                [span] = collected.spans()
                told = facts(span)
                assert told["http.response.status_code"] == status, path
                assert span.name == name, path
                assert (span.status.status_code is StatusCode.ERROR) == (status >= 500)
                assert ("error.type" in told) == (status >= 500)

    asyncio.run(run())


@pytest.mark.parametrize("direct", [True, False])
def test_every_request_has_one_span_as_the_metrics_count_them(direct: bool) -> None:
    """Random requests, with the shortcut and with the framework alone."""
    collected, rng = Collected(), random.Random(5)
    log = io.StringIO()
    configure_logs(log)

    async def run() -> None:
        app, metrics = service(direct)
        app.tracing = collected.tracing
        for _ in range(250):
            await answer(app, *draw_request(rng))
        await asyncio.sleep(0)
        spans = collected.spans()
        told = Counter((facts(one)["http.route"], facts(one)["http.response.status_code"]) for one in spans)
        assert sum(told.values()) == 250
        for (route, status), count in told.items():
            assert metrics.requests.labels(route, str(status))._value.get() == count
        lines = [json.loads(line) for line in log.getvalue().splitlines()]
        ids = [line["trace_id"] for line in lines if line["event"] == "request"]
        assert ids == [f"{one.get_span_context().trace_id:032x}" for one in spans]

    asyncio.run(run())


def test_a_span_that_is_not_sampled_costs_no_request_its_answer() -> None:
    collected = Collected(sampler=ALWAYS_OFF)

    async def run() -> None:
        async with client(Counting(), tracing=collected.tracing) as (http, _):
            assert (await http.post("/recommend", json={"history": ["item 01"]})).status_code == 200
        assert collected.spans() == []

    asyncio.run(run())


def test_without_traces_no_sdk_is_imported() -> None:
    code = (  # FastAPI imports the OpenTelemetry API, which does nothing by itself
        "import sys, mclrec.serving.rest.server, mclrec.cli.commands.serve\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# ------------------------------------------------------------------------------ environment variables


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "no exporter 'zipkin' is installed"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "carrier-pigeon"}, "http/protobuf or grpc"),
    ],
)
def test_a_variable_that_is_wrong_is_refused(
    variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        Tracing.of_environment()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, "no traces are sent: OTEL_SDK_DISABLED is true"),
        ({"OTEL_TRACES_EXPORTER": "none"}, "no traces are sent: OTEL_TRACES_EXPORTER is none"),
    ],
)
def test_traces_that_are_switched_off_are_told(
    variables: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Tracing.of_environment() is None
    assert capsys.readouterr().err == f"warning: {message}\n"


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_TRACES_SAMPLER", "by-mood"), ("OTEL_BSP_SCHEDULE_DELAY", "soon")]
)
def test_what_the_sdk_takes_a_default_for_is_told(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    tracing = Tracing.of_environment()
    assert tracing is not None
    tracing.close()
    said = capsys.readouterr().err
    assert said.startswith("warning: ")
    assert name in said or value in said


class Collector(HTTPServer):
    """A server that receives OTLP over HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.received: list[ExportTraceServiceRequest] = []
        self.paths: set[str] = set()
        self.keys: set[str | None] = set()


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append(ExportTraceServiceRequest.FromString(body))
        self.server.paths.add(self.path)
        self.server.keys.add(self.headers["x-key"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the interface
        pass


@pytest.mark.slow
def test_a_process_sends_its_spans_to_the_collector_that_variables_name(
    model_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = Collector()
    thread = threading.Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop-recommender")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    try:
        with serving(model_directory, tmp_path, "--traces") as running:
            body = {"history": ["item 01"], "k": 3}
            httpx.post(f"{running.url}/recommend", json=body, headers={"traceparent": CONTEXT})
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(30) == 0  # remaining spans are sent at shutdown
    finally:
        collector.shutdown()
        thread.join()
        collector.server_close()
    assert (collector.paths, collector.keys) == ({"/v1/traces"}, {"secret"})
    sent = [group for one in collector.received for group in one.resource_spans]
    resource = {one.key: one.value.string_value for one in sent[0].resource.attributes}
    assert resource["service.name"] == "shop-recommender"
    assert resource["deployment.environment.name"] == "test"
    spans = [span for group in sent for scope in group.scope_spans for span in scope.spans]
    [found] = [span for span in spans if span.name == "POST /recommend"]
    assert (found.trace_id.hex(), found.parent_span_id.hex()) == (TRACE, SPAN)
    assert all(span.name == "GET /ready" for span in spans if span is not found)


@pytest.mark.slow
def test_a_collector_that_is_away_is_told_and_keeps_nobody_waiting(
    model_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    with serving(model_directory, tmp_path, "--traces") as running:
        answered = httpx.post(f"{running.url}/recommend", json={"history": ["item 01"]})
        assert answered.status_code == 200
        until(lambda: any("opentelemetry" in line for line in running.lines()))
        started = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0
        assert time.monotonic() - started < 20
    for line in running.lines():
        json.loads(line)
