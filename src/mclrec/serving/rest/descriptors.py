"""File descriptors: each connection takes one, and a process that has none left cannot answer anybody."""

from __future__ import annotations

import resource

from mclrec.errors import ConfigError
from mclrec.serving.rest.connection_limits import SPARE_CONNECTIONS
from mclrec.serving.rest.settings import Settings

__all__ = ["connections_that_fit"]

_FILES = 128
"""Files that a service has open besides its connections: model, libraries, log; more during a reload."""


def connections_that_fit(settings: Settings) -> int:
    """Raise the limit on open files as far as the connections need it; return how many connections it allows.

    Returns:
        ``settings.max_connections``, or fewer.

    Raises:
        ConfigError: the limit leaves no room for connections.
    """
    others = SPARE_CONNECTIONS + _FILES
    needed = settings.max_connections + others
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = needed if soft == resource.RLIM_INFINITY else soft
    if room <= others:
        raise ConfigError(f"ulimit -n {room}: too few open files to serve; allow more than {others}")
    return min(settings.max_connections, room - others)
