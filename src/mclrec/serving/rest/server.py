"""The service as a process: socket, uvicorn, signals, draining."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import uvicorn

from mclrec.errors import ConfigError, MclrecError, quoted
from mclrec.inference.runtime import EngineName, Runtime, load_runtime
from mclrec.serving.rest.arms import Arm, Arms, check_shares
from mclrec.serving.rest.connection_limits import BoundedProtocol, Connections
from mclrec.serving.rest.descriptors import connections_that_fit
from mclrec.serving.rest.keys import KeyFile, KeyRing
from mclrec.serving.rest.middleware import Middleware
from mclrec.serving.rest.model_store import ModelStore, fetch
from mclrec.serving.rest.routes import make_app
from mclrec.serving.rest.session_file import SessionFile, check_session_file
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.sites import Sites
from mclrec.serving.rest.supervision import Hangup, tell_supervisor
from mclrec.serving.rest.telemetry import Metrics, configure_logs, log_event
from mclrec.serving.rest.tracing import Tracing

__all__ = ["Access", "Server", "is_loopback", "listen", "serve", "serve_model"]

_BACKLOG = 2048
_TICK = 0.02

_SWITCH_INTERVAL = 0.001
"""Seconds after which a thread that runs Python code yields to another, a fifth of Python's default.

Searches, explanations and the loading of another model run in such threads, and requests wait for them.
"""


@dataclass(frozen=True, slots=True)
class Access:
    """Access control: keys and accepted sites; see `mclrec.serving.rest.middleware.Middleware`."""

    keys: KeyRing | None = None
    admin: KeyRing | None = None
    sites: Sites = field(default_factory=Sites)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def listen(host: str, port: int) -> socket.socket:
    """Bind a socket, which accepts connections once it is served.

    Raises:
        ConfigError: the address is in use, or is not one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as problem:
        raise ConfigError(f"--host {host}: {problem.strerror or problem}") from None
    except UnicodeError:
        raise ConfigError(f"--host {quoted(host)}: not a valid host name") from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as problem:
        bound.close()
        raise ConfigError(f"{host}:{port}: {problem.strerror or problem}; give another --port") from None
    return bound


def serve_model(
    run: str | Path | Mapping[str, str | Path],
    *,
    split: Mapping[str, float] | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key_file: str | Path | None = None,
    admin_key_file: str | Path | None = None,
    allow_hosts: Iterable[str] = (),
    engine: EngineName = "auto",
    index: str | None = None,
    titles: str | Path | None = None,
    items: str | Path | None = None,
    sessions: str | Path | None = None,
    traces: bool = False,
    settings: Settings | None = None,
) -> None:
    """Serve the model of a directory until a signal ends the process; see `serve`.

    Args:
        run: directory of a run or of an export; for several models, keyed by the names of the arms.
        split: shares of the arms, in any unit; equal shares if None.
        host: address to listen on.
        port: port to listen on; 0 for any free one.
        api_key_file: file with one key per line, which is read again when it changes; clients must present one of the
            keys. Open to all if None.
        admin_key_file: the same for reloads and metrics; if None, these are open only if there are no other keys, and
            only on this machine.
        allow_hosts: host names that requests may use, beside loopback ones; ``*`` for any.
        engine: see `mclrec.inference.runtime.load_runtime`.
        index: kind of index over the items; exact search if None.
        titles: file of item titles (`mclrec.inference.titles.read_titles`), read with each model; answers, the
            search and the page then include them.
        items: table of items (`mclrec.inference.item_facts.read_item_facts`), read with each model; requests may then
            use ``filter``, ``boost`` and ``diversify``. Its titles are used if ``titles`` is None.
        sessions: SQLite file that stores the sessions of ``POST /events``, which several processes may share; this
            process's memory if None.
        traces: whether to send a span of each request as configured by the ``OTEL_*`` variables.
        settings: limits; the defaults if None.

    Raises:
        ConfigError: the address is in use, the keys cannot be read, or spans cannot be sent.
        OutputError: the session file cannot be used.
        ModelFileError: the model cannot be loaded.
    """
    keys = None if api_key_file is None else KeyFile(Path(api_key_file))
    admin = None if admin_key_file is None else KeyFile(Path(admin_key_file))
    names = [*allow_hosts, *([] if _is_address(host) else [host])]
    access = Access(keys, admin, Sites(names, loopback=is_loopback(host)))
    if keys is None and not is_loopback(host):
        sys.stderr.write(f"warning: anyone who can reach {host} can send requests; see --api-key-file\n")
    Hangup.installed()
    settings = settings or Settings.of()
    places = {name: Path(place) for name, place in (run if isinstance(run, Mapping) else {"": run}).items()}
    shares = check_shares(split, list(places))
    if sessions is not None:
        check_session_file(Path(sessions))
    tracing = Tracing.of_environment() if traces else None
    fitting = connections_that_fit(settings)
    if fitting < settings.max_connections:
        sys.stderr.write(
            f"warning: ulimit -n leaves room for {fitting} connections, not {settings.max_connections}\n"
        )
        settings = settings.model_copy(update={"max_connections": fitting})
    bound = listen(host, port)
    address = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"

    def started(runtimes: Mapping[str, Runtime]) -> None:
        configure_logs()
        for name, runtime in runtimes.items():
            told = {"model": runtime.version, "items": runtime.engine.num_items}
            arm = {"arm": name, "share": round(shares[name], 6)} if name else {}
            log_event("serving", {"address": address, **arm, **told})

    def load(place: Path) -> Runtime:
        runtime = load_runtime(place, engine=engine, index=index)
        return runtime.told_of_items(_path(titles), _path(items))

    loads = {name: partial(load, place) for name, place in places.items()}
    with nullcontext() if tracing is None else closing(tracing):
        serve(bound, loads, settings, access, started, shares, _path(sessions), tracing)


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


def serve(
    bound: socket.socket,
    loads: Mapping[str, Callable[[], Runtime]],
    settings: Settings,
    access: Access,
    started: Callable[[Mapping[str, Runtime]], None],
    shares: Mapping[str, float],
    sessions: Path | None = None,
    tracing: Tracing | None = None,
) -> None:
    """Serve requests until a signal ends the process.

    SIGTERM and SIGINT drain: accepted requests are answered, new ones refused; a second signal ends the process at
    once. SIGHUP reloads the models.

    Args:
        bound: socket from `listen`.
        loads: functions that load the models, by arm; a single one with an empty name if there is no test.
        settings: limits.
        access: access control.
        started: called when requests are about to be accepted.
        shares: share of users and sessions for each arm.
        sessions: file that stores sessions; memory if None.
        tracing: creates a span for each request; no tracing if None.

    Raises:
        MclrecError: a model cannot be loaded.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL)
    hangup = Hangup.installed()
    try:
        runtimes = {name: fetch(load) for name, load in loads.items()}
    except MclrecError:
        bound.close()
        raise

    async def run() -> None:
        metrics = Metrics(len(loads) > 1)
        arms = Arms(
            [
                Arm(name, ModelStore(load, runtimes[name], settings, metrics, name), shares[name])
                for name, load in loads.items()
            ]
        )
        store = None if sessions is None else SessionFile.of(sessions, settings, metrics)
        middleware = make_app(
            arms, settings, metrics, access.keys, access.admin, access.sites, store, tracing
        )
        connections = Connections(settings, middleware.refused)
        middleware.connections = lambda: len(connections)
        server = Server(middleware, arms, connections, hangup)
        started(runtimes)
        await server.serve([bound])

    with asyncio.Runner(loop_factory=uvicorn.Config(run).get_loop_factory()) as runner:
        runner.run(run())


class Server(uvicorn.Server):
    """Uvicorn server with our own signal handling: graceful shutdown in two steps, exit status 0 after draining."""

    def __init__(
        self, middleware: Middleware, models: ModelStore | Arms, connections: Connections, hangup: Hangup
    ) -> None:
        settings = connections.settings
        super().__init__(
            uvicorn.Config(
                middleware,
                http=cast("Any", partial(BoundedProtocol, connections)),
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=_BACKLOG,
                timeout_keep_alive=settings.keep_alive,
                timeout_graceful_shutdown=int(settings.deadline + settings.body_timeout) + 1,
            )
        )
        self._middleware = middleware
        self._arms = Arms.of(models)
        self._hangup = hangup
        self._drain = settings.drain
        self._tasks: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections and notify the supervisor; a reload requested while the model was loading starts now."""
        await super().startup(sockets)
        tell_supervisor("READY=1")
        if self._hangup.asked:
            self._start(self._arms.reload())

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals in the event loop while serving."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._start(self._arms.reload()))
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        if self._middleware.draining:
            self.should_exit = self.force_exit = True
            return
        self._middleware.draining = True
        tell_supervisor("STOPPING=1")
        log_event("draining", {"in_flight": self._middleware.in_flight})
        self._start(self._finish())

    async def _finish(self) -> None:
        """Refuse new requests for a while, so that load balancers and kept-alive connections notice; then exit."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._drain
        while loop.time() < until or self._middleware.in_flight:
            await asyncio.sleep(_TICK)
        self.should_exit = True

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
