"""``mclrec serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mclrec.cli.app import EngineOption, ItemsOption, TitlesOption, app, examples, names
from mclrec.cli.pairs import distinct_pairs
from mclrec.cli.terminal import tell_returns
from mclrec.errors import ConfigError, quoted
from mclrec.extras import require
from mclrec.threads import sleep_at_once

_LIMITS = "Limits"


@app.command(
    epilog=examples(
        "mclrec serve runs/demo/mclrec",
        "mclrec serve runs/demo/mclrec --host 0.0.0.0 --port 8080 --api-key-file keys.txt",
        "mclrec serve A=runs/old B=runs/new --split A=90,B=10",
        "curl -s localhost:8000/recommend -H 'Content-Type: application/json' -d '{\"history\": [\"BANANAS\"]}'",
    )
)
def serve(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", help="Directory of a run; for an A/B test of several, each as NAME=RUN."
        ),
    ],
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=SHARE,...",
            help="With several models: the share of users, or sessions, that each gets; equal shares if not given.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; only this machine if not given.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="Port to listen on; 0: any free one.")
    ] = 8000,
    api_key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One key per line; clients must send one of them.")
    ] = None,
    admin_key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The same, for /model/reload and /metrics.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A host name that clients may use, besides localhost; * for any. Repeatable."
        ),
    ] = None,
    engine: EngineOption = "auto",
    index: Annotated[
        str | None, typer.Option(metavar="KIND", help="Search items by an index instead of exactly.")
    ] = None,
    titles: TitlesOption = None,
    items: ItemsOption = None,
    sessions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep the sessions of POST /events in this SQLite file, which several processes may share; "
            "in memory if not given.",
        ),
    ] = None,
    traces: Annotated[
        bool,
        typer.Option(
            "--traces",
            help="Send an OpenTelemetry span of each request; OTEL_EXPORTER_OTLP_ENDPOINT says where.",
        ),
    ] = False,
    threads: Annotated[
        int, typer.Option(metavar="N", min=1, help="Batches that the model computes in parallel.")
    ] = 1,
    min_overlap: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Share of items that a reloaded model must have in common with the old one [0.5].",
        ),
    ] = None,
    log_histories: Annotated[
        bool, typer.Option("--log-histories", help="Write the histories of requests into the log.")
    ] = False,
    max_batch: Annotated[
        int | None, typer.Option(metavar="N", rich_help_panel=_LIMITS, help="Requests per batch [256].")
    ] = None,
    max_body: Annotated[
        int | None,
        typer.Option(metavar="BYTES", rich_help_panel=_LIMITS, help="Size of a request [1048576]."),
    ] = None,
    max_history: Annotated[
        int | None, typer.Option(metavar="N", rich_help_panel=_LIMITS, help="Items per history [1000].")
    ] = None,
    max_k: Annotated[
        int | None, typer.Option(metavar="N", rich_help_panel=_LIMITS, help="Items per answer [200].")
    ] = None,
    max_queue: Annotated[
        int | None,
        typer.Option(
            metavar="N", rich_help_panel=_LIMITS, help="Histories that may wait; beyond that, 503 [1024]."
        ),
    ] = None,
    max_connections: Annotated[
        int | None,
        typer.Option(metavar="N", rich_help_panel=_LIMITS, help="Connections open at once [1000]."),
    ] = None,
    max_sessions: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            rich_help_panel=_LIMITS,
            help="Sessions kept; beyond that, the oldest is dropped [100000].",
        ),
    ] = None,
    max_session_items: Annotated[
        int | None,
        typer.Option(metavar="N", rich_help_panel=_LIMITS, help="Newest items kept per session [200]."),
    ] = None,
    session_ttl: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=_LIMITS,
            help="How long a session is kept after its last event [1800].",
        ),
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", rich_help_panel=_LIMITS, help="Time for an answer; after that, 504 [2]."
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", rich_help_panel=_LIMITS, help="Time for a client to send its body [10]."
        ),
    ] = None,
    drain: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=_LIMITS,
            help="Minimum time of answering 503 after SIGTERM [1].",
        ),
    ] = None,
) -> None:
    """Answer requests over HTTP: recommendations, search, similar items, a page to try it in.

    SIGTERM finishes what was accepted and leaves; SIGHUP reads the model's directory anew.
    """
    sleep_at_once()  # a thread that spins would take a core from requests
    from mclrec.serving.rest.supervision import Hangup

    Hangup.installed()  # before anything slow: until then, SIGHUP would end the process
    require("the service")
    if traces:
        require("traces")
    from mclrec.serving.rest.server import serve_model
    from mclrec.serving.rest.settings import Settings

    settings = Settings.of(
        max_batch=max_batch,
        max_body=max_body,
        max_history=max_history,
        max_k=max_k,
        max_queue=max_queue,
        max_connections=max_connections,
        max_sessions=max_sessions,
        max_session_items=max_session_items,
        session_ttl=session_ttl,
        deadline=deadline,
        body_timeout=timeout,
        header_timeout=timeout,
        drain=drain,
        workers=threads,
        min_overlap=min_overlap,
        log_histories=log_histories,
    )
    from mclrec.serving.rest.arms import named_runs

    models = named_runs(runs)
    for place in models.values():
        tell_returns(place, "include_seen in a request")
    serve_model(
        models,
        split=None if split is None else _shares(split),
        host=host,
        port=port,
        api_key_file=api_key_file,
        admin_key_file=admin_key_file,
        allow_hosts=allow_host or (),
        engine=engine,
        index=index,
        titles=titles,
        items=items,
        sessions=sessions,
        traces=traces,
        settings=settings,
    )


def _shares(text: str) -> dict[str, float]:
    """Parse ``NAME=SHARE,...`` into shares by arm.

    Raises:
        ConfigError: a part is not a name and a number, or an arm is named twice.
    """
    return distinct_pairs("--split", (_share(word, text) for word in names(text)))


def _share(word: str, text: str) -> tuple[str, float]:
    name, _, share = word.partition("=")
    try:
        return name.strip(), float(share)
    except ValueError:
        raise ConfigError(
            f"--split {quoted(text)}: should be a share for each arm, as in A=90,B=10"
        ) from None
