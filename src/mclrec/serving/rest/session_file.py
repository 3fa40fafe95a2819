"""Sessions in a SQLite file, which several processes can share: they survive restarts, and crashes during a write.

SQLite's write-ahead log makes each event atomic, whenever a process ends, and lets readers continue while another
process writes. Its locks are the system's, so that a killed process locks nobody out. The file must be on a local disk:
the log needs memory that all processes share.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from mclrec.data.vocabulary import OutsideId
from mclrec.errors import OutputError
from mclrec.files import check_writable, replaceable_file, system_reason
from mclrec.serving.rest.pool import WorkPool
from mclrec.serving.rest.session_items import DamagedSession, digest_of, newest, packed, unpacked
from mclrec.serving.rest.sessions import OVERHEAD, Added, Limits, SessionsUnavailable
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.telemetry import Metrics, log_event

__all__ = ["SessionFile", "check_session_file"]

_T = TypeVar("_T")

_APPLICATION, _FORMAT = 0x6D636C72, 1  # "mclr"
_SWEPT = 100
"""Maximum number of sessions that one event removes because they expired, and as many for lack of room."""

_LOCKED_SECONDS = 1.0
"""Time that an event waits for another process to write: a write takes a fraction of a millisecond unless stuck."""

_MOST = 2**60
"""Upper limit of counts, well within an integer of SQLite."""

_RETRY_SECONDS = 0.02

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS sessions (key BLOB PRIMARY KEY, at REAL NOT NULL, items BLOB NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS sessions_at ON sessions (at)",
    "CREATE TABLE IF NOT EXISTS held (number INTEGER NOT NULL, content INTEGER NOT NULL)",
    "INSERT INTO held SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM held)",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_FORMAT}",
)

_REASONS = {
    sqlite3.SQLITE_BUSY: ("locked", "another process keeps them locked"),
    sqlite3.SQLITE_LOCKED: ("locked", "another process keeps them locked"),
    sqlite3.SQLITE_FULL: ("full", "the disk is full"),
    sqlite3.SQLITE_IOERR: ("disk", "the disk does not work, or is full"),
    sqlite3.SQLITE_READONLY: ("disk", "their file cannot be written"),
    sqlite3.SQLITE_CANTOPEN: ("disk", "their file cannot be opened"),
    sqlite3.SQLITE_CORRUPT: ("damaged", "their file is damaged"),
    sqlite3.SQLITE_NOTADB: ("damaged", "their file is damaged"),
}
"""Meaning of SQLite's result codes: a label for the metric, and an explanation."""


class SessionFile:
    """Session store in a SQLite file; one thread writes, another one reads, and the event loop does neither.

    Args:
        path: path of the file, created if missing; `check_session_file` has checked it.
        limits: bounds of the whole file, which each process enforces.
        metrics: metrics that record dropped sessions.
        room: maximum number of waiting events, and of waiting look-ups.
        now: clock in seconds, which all processes share.
    """

    def __init__(
        self, path: Path, limits: Limits, metrics: Metrics, room: int, now: Callable[[], float] = time.time
    ) -> None:
        self._limits, self._metrics, self._now = limits, metrics, now
        self._writer, self._reader = _Connection(path), _Connection(path)
        self._writing, self._reading = (
            WorkPool(1, room, "session-writer"),
            WorkPool(1, room, "session-reader"),
        )
        self._held, self._broken = 0, ""

    @classmethod
    def of(cls, path: Path, settings: Settings, metrics: Metrics) -> SessionFile:
        """The session store of a file, with bounds from the settings."""
        return cls(path, Limits.of(settings), metrics, settings.max_queue)

    async def add(self, key: str, items: Sequence[OutsideId], clear: bool, seconds: float) -> Added:
        """Append items in one transaction; implements `SessionStore.add`."""

        def work(connection: sqlite3.Connection) -> Added:
            return self._add(connection, digest_of(key), items, clear)

        return await self._writing.run(seconds, self._told, self._writer, work)

    async def read(self, keys: Sequence[str], seconds: float) -> list[list[OutsideId]]:
        """Items of sessions, each in a consistent state; implements `SessionStore.read`."""

        def work(connection: sqlite3.Connection) -> list[list[OutsideId]]:
            return [self._items(connection, digest_of(key)) for key in keys]

        return await self._reading.run(seconds, self._told, self._reader, work)

    def held(self) -> int:
        """Number of sessions after this process's last event."""
        return self._held

    def _told(self, connection: _Connection, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run work on a connection; a failure is counted, and logged once until writing works again."""
        try:
            found = connection.use(work)
        except SessionsUnavailable as problem:
            self._metrics.session_errors.labels(problem.reason).inc()
            if problem.reason != self._broken:
                log_event("sessions unavailable", {"file": str(connection.path), "reason": str(problem)})
            self._broken = problem.reason
            raise
        if self._broken and connection is self._writer:
            log_event("sessions available", {"file": str(connection.path)})
            self._broken = ""
        return found

    def _add(
        self, connection: sqlite3.Connection, digest: bytes, items: Sequence[OutsideId], clear: bool
    ) -> Added:
        connection.execute("BEGIN IMMEDIATE")
        row = connection.execute("SELECT length(items) FROM sessions WHERE key = ?", (digest,)).fetchone()
        before = [] if clear else self._items(connection, digest)
        kept = newest([*before, *items], self._limits.items)
        number, content = (0, 0) if row is None else (-1, -_counted(row))
        if kept:
            blob = packed(kept)
            number, content = number + 1, content + len(blob) + OVERHEAD
            connection.execute(
                "INSERT INTO sessions VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET at = excluded.at, "
                "items = excluded.items",
                (digest, self._now(), blob),
            )
        elif row is not None:
            connection.execute("DELETE FROM sessions WHERE key = ?", (digest,))
        dropped = self._sweep(connection, number, content)
        connection.execute("COMMIT")
        for reason, count in dropped.items():  # counted only once it is committed
            self._metrics.sessions_dropped.labels(reason).inc(count)
        return Added(len(kept), len(before) + len(items) - len(kept))

    def _items(self, connection: sqlite3.Connection, digest: bytes) -> list[OutsideId]:
        row = connection.execute("SELECT at, items FROM sessions WHERE key = ?", (digest,)).fetchone()
        if row is None:
            return []
        at, content = row
        try:
            if not isinstance(at, float) or not isinstance(content, bytes):
                raise DamagedSession
            expired = abs(self._now() - at) > self._limits.seconds  # a clock may have been set back
            return [] if expired else unpacked(content)
        except DamagedSession:
            self._metrics.sessions_dropped.labels("damaged").inc()
            return []

    def _sweep(self, connection: sqlite3.Connection, number: int, content: int) -> dict[str, int]:
        """Update the totals; remove sessions that expired or have no room, up to `_SWEPT` of each."""
        now, seconds, limits = self._now(), self._limits.seconds, self._limits
        number, content = _total(connection, number, content)
        expired = self._delete(connection, "at < ? OR at > ?", (now - seconds, now + seconds), _SWEPT)
        number, content = number - len(expired), content - sum(expired)
        crowded = 0
        while crowded < _SWEPT and number > 0 and (number > limits.sessions or content > limits.content):
            gone = self._delete(connection, "1", (), 1)
            number, content, crowded = number - len(gone), content - sum(gone), crowded + len(gone)
            if not gone:  # the counts were wrong
                number = content = 0
        connection.execute("DELETE FROM held")
        connection.execute("INSERT INTO held VALUES (?, ?)", (number, content))
        self._held = number
        return {"expired": len(expired), "room": crowded}

    @staticmethod
    def _delete(
        connection: sqlite3.Connection, where: str, values: tuple[float, ...], most: int
    ) -> list[int]:
        """Remove the oldest sessions that satisfy a condition; return the bytes that each was counted as."""
        rows = connection.execute(
            f"DELETE FROM sessions WHERE key IN (SELECT key FROM sessions WHERE {where} ORDER BY at LIMIT {most}) "  # noqa: S608
            "RETURNING length(items)",
            values,
        ).fetchall()
        return [_counted(row) for row in rows]


def _total(connection: sqlite3.Connection, number: int, content: int) -> tuple[int, int]:
    """Number of sessions in the file and the bytes that they count as; recounted if the stored totals are invalid.

    Args:
        connection: connection in a transaction.
        number: change of the number of sessions in this transaction.
        content: change of the bytes in this transaction.
    """
    found = connection.execute("SELECT number, content FROM held").fetchall()
    match found:
        case [(int(before), int(bytes_before))] if before + number >= 0 and bytes_before + content >= 0:
            return min(before + number, _MOST), min(bytes_before + content, _MOST)
    counted = "SELECT count(*), coalesce(sum(length(items)), 0) FROM sessions"
    number, content = connection.execute(counted).fetchone()
    return number, content + number * OVERHEAD


def _counted(row: tuple[int | None]) -> int:
    """Bytes that a session is counted as, from the length of its items."""
    return (row[0] or 0) + OVERHEAD


class _Connection:
    """A database connection that belongs to one thread, and is reopened after any failure."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def use(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run work on the file that is at the path now, and return its result.

        Raises:
            SessionsUnavailable: the work failed; its transaction is rolled back.
        """
        try:
            if self._connection is not None and self._file != _identity(self.path):
                self._close()  # the file was removed or replaced
            if self._connection is None:
                self._connection = _open(self.path)
                self._file = _identity(self.path)
            return work(self._connection)
        except sqlite3.Error as problem:
            self._close()
            reason, words = _REASONS.get(problem.sqlite_errorcode & 0xFF, ("other", str(problem)))
            raise SessionsUnavailable(f"sessions cannot be kept: {words}", reason) from None
        except OSError as problem:
            self._close()
            raise SessionsUnavailable(f"sessions cannot be kept: {system_reason(problem)}", "disk") from None
        except OutputError:
            self._close()
            raise SessionsUnavailable(
                "sessions cannot be kept: their file has been replaced", "damaged"
            ) from None
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()  # rolls back what was not committed
        self._connection = None


def check_session_file(path: Path) -> None:
    """Create the session file, or check the existing one, before the service starts.

    Raises:
        OutputError: the file cannot be created or written, is damaged, or is not a session file.
    """
    replaceable_file(path)
    check_writable(path)
    try:
        connection = _open(path)
        try:
            if (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise OutputError(f"{path}: is damaged: {found}; move it away to start without sessions")
        finally:
            connection.close()
    except OSError as problem:
        raise OutputError(f"{path}: cannot be opened: {system_reason(problem)}") from None
    except sqlite3.Error as problem:
        kind, words = _REASONS.get(problem.sqlite_errorcode & 0xFF, ("other", str(problem)))
        cure = (
            "move it away to start without sessions"
            if kind == "damaged"
            else "fix that, or give another file"
        )
        raise OutputError(f"{path}: {words.replace('their file', 'the file')}; {cure}") from None


def _open(path: Path) -> sqlite3.Connection:
    """Open the file, and create its tables if it is new.

    Raises:
        OutputError: it is not a session file, or has another format version.
        sqlite3.Error: SQLite cannot open it.
        OSError: the system cannot open it.
    """
    _create(path)
    connection = sqlite3.connect(path, timeout=_LOCKED_SECONDS, isolation_level=None)
    try:
        _check_owner(connection, path)
        _write_ahead(connection)
        if connection.execute("PRAGMA user_version").fetchone()[0] != _FORMAT:
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _create(path: Path) -> None:
    """Create an empty file that only its owner can read, if there is none; remove logs of a file that was deleted."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log, retrying because SQLite does not wait if another process is doing the same.

    Raises:
        sqlite3.OperationalError: another process keeps the file locked.
    """
    until = time.monotonic() + _LOCKED_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(_RETRY_SECONDS)


def _check_owner(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a database that is not ours, or has another format version.

    Raises:
        OutputError: it is such a database.
    """
    connection.execute("BEGIN")  # for a consistent view: another process may be creating the tables
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    connection.execute("COMMIT")
    if application != _APPLICATION and (tables or application or version):
        raise OutputError(f"{path}: is another kind of database; give another file for the sessions")
    if application == _APPLICATION and version != _FORMAT:
        raise OutputError(
            f"{path}: sessions of format {version}, but this version reads {_FORMAT}; "
            "move it away to start without sessions"
        )


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
