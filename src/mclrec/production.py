"""Putting a trained model into production: export, and the REST service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from mclrec.arguments import check_choice, check_flag, list_of, path_of, text_of, whole_number
from mclrec.crashes import refusals_as_ours
from mclrec.data.columns import Columns
from mclrec.data.origin import Reading
from mclrec.errors import ConfigError
from mclrec.extras import require
from mclrec.runs.run import Run, open_run

__all__ = ["export", "serve"]


@refusals_as_ours()
def export(
    run: Run | str | Path,
    out: str | Path | None = None,
    *,
    format: Literal["onnx", "vectors"] = "onnx",  # noqa: A002 - the command's word
    index: str | None = None,
    users: str | Path | None = None,
    columns: Columns | None = None,
    reading: Reading | None = None,
) -> Path:
    """Export a trained model for other programs, as ONNX or as vectors; an ONNX export is checked against torch.

    Args:
        run: the run, or its directory.
        out: output directory; ``onnx`` or ``vectors`` in the run's directory by default.
        format: ``onnx`` for serving, or ``vectors`` of items and users as ``.npy`` and Parquet.
        index: with ONNX: ``faiss`` for approximate search among a million items and more.
        users: with vectors: a log, for the vectors of its users.
        columns: columns of that log; guessed if not given.
        reading: all options for reading it; ``columns`` take precedence over its own.

    Returns:
        The directory.

    Raises:
        MclrecError: the model cannot be exported in this way, or an extra is not installed.
    """
    from mclrec.inference.exporter import export_onnx
    from mclrec.inference.vector_exporter import export_vectors

    check_choice("format", format, ("onnx", "vectors"))
    directory, place = open_run(run).directory, None if out is None else path_of("out", out)
    asked = Reading.of(reading, columns=columns)
    if users is None and asked != Reading():
        raise ConfigError("columns and reading go with users")
    if format == "onnx" and users is None:
        return export_onnx(directory, place, index).directory
    if format == "vectors" and index is None:
        log = None if users is None else path_of("users", users)
        return export_vectors(directory, place, users=users if isinstance(users, str) else log, reading=asked)
    raise ConfigError("users needs the format vectors, index needs the format onnx")


@refusals_as_ours()
def serve(
    run: Run | str | Path | Mapping[str, Run | str | Path],
    *,
    split: Mapping[str, float] | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key_file: str | Path | None = None,
    admin_key_file: str | Path | None = None,
    allow_hosts: Iterable[str] = (),
    engine: Literal["auto", "torch", "onnx"] = "auto",
    index: str | None = None,
    titles: str | Path | None = None,
    items: str | Path | None = None,
    sessions: str | Path | None = None,
    traces: bool = False,
    **limits: Any,
) -> None:
    """Serve a trained model over HTTP until SIGTERM or Ctrl-C.

    Args:
        run: the run or an export, or its directory; for an A/B test several, keyed by the names of the arms.
        split: share of users and sessions for each arm, such as ``{"A": 90, "B": 10}``; equal shares if None.
        host: address to listen on; only this machine by default.
        port: port to listen on; 0 for any free one.
        api_key_file: file with one key per line; clients must present one of them.
        admin_key_file: the same for reloads and metrics.
        allow_hosts: host names that requests may use, beside localhost.
        engine: onnxruntime, torch, or (auto) onnxruntime if the run has an export.
        index: search items with this kind of index instead of exactly.
        titles: file of item titles, .csv, .tsv or .parquet with id and title.
        items: table of items, .csv, .tsv or .parquet, whose columns can be used in the rules of requests.
        sessions: SQLite file that stores the sessions of ``POST /events``; this process's memory if None.
        traces: whether to send a span of each request through OpenTelemetry, configured by the ``OTEL_*`` variables.
        limits: limits on requests, named as in `mclrec.serving.rest.settings.Settings`.

    Raises:
        MclrecError: the model cannot be served in this way, or an extra is not installed.
    """
    require("the service")
    traces = check_flag("traces", traces)
    from mclrec.serving.rest.server import serve_model
    from mclrec.serving.rest.settings import Settings

    serve_model(
        {name: open_run(one).directory for name, one in run.items()}
        if isinstance(run, Mapping)
        else open_run(run).directory,
        split=split,
        host=text_of("host", host),
        port=whole_number("port", port, 0, 65535),
        api_key_file=None if api_key_file is None else path_of("api_key_file", api_key_file),
        admin_key_file=None if admin_key_file is None else path_of("admin_key_file", admin_key_file),
        allow_hosts=[text_of("allow_hosts", name) for name in list_of("names", "allow_hosts", allow_hosts)],
        engine=engine,
        index=None if index is None else text_of("index", index),
        titles=None if titles is None else path_of("titles", titles),
        items=None if items is None else path_of("items", items),
        sessions=None if sessions is None else path_of("sessions", sessions),
        traces=traces,
        settings=Settings.of(**limits),
    )
