"""Remote logs: files at URLs, fetched into a temporary file by DuckDB's extension httpfs if it is installed."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import duckdb

from mclrec.data.text_tables import sql_text
from mclrec.errors import DataError

__all__ = ["fetched"]

_SCHEMES = ("http", "https", "s3", "gs", "gcs", "r2", "hf")
EXTENSION = "httpfs"


def fetched(address: str, folder: Path) -> Path:
    """Copy the file at an address into a folder under its own name; return the copy.

    Credentials for ``s3://`` are those that DuckDB finds in its stored secrets or in the environment.

    Raises:
        DataError: the extension is not installed, or the file cannot be fetched.
    """
    parts = urlsplit(address)
    name = PurePosixPath(unquote(parts.path)).name
    if parts.scheme not in _SCHEMES or not name:
        known = ", ".join(f"{scheme}://" for scheme in _SCHEMES)
        raise DataError(
            f"{address}: cannot be read from there, only from {known}; for others use --engine spark"
        )
    connection = duckdb.connect()
    try:
        _load(connection, address)
        path = folder / "fetched" / name
        path.parent.mkdir()
        _copy(connection, address, path)
    finally:
        connection.close()
    return path


def _load(connection: duckdb.DuckDBPyConnection, address: str) -> None:
    try:
        connection.execute(f"LOAD {EXTENSION}")
    except duckdb.Error:
        install = f"python -c \"import duckdb; duckdb.sql('INSTALL {EXTENSION}')\""
        raise DataError(
            f"{address}: needs DuckDB's extension {EXTENSION}, which is not installed: {install}"
        ) from None
    try:
        connection.execute("LOAD aws")
        connection.execute("CREATE SECRET (TYPE s3, PROVIDER credential_chain)")
    except duckdb.Error:
        return  # without the aws extension, DuckDB's own secrets are used


def _copy(connection: duckdb.DuckDBPyConnection, address: str, path: Path) -> None:
    try:
        found = connection.execute(f"SELECT content FROM read_blob({sql_text(address)})").fetchall()  # noqa: S608 - quoted
    except duckdb.Error as problem:
        what = str(problem).partition("\n")[0]
        raise DataError(f"{address}: cannot be fetched: {what}") from None
    if len(found) != 1:
        raise DataError(f"{address}: matches {len(found)} files; name one")
    path.write_bytes(found[0][0])
